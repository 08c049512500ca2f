package haproxy

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func server(t *testing.T, name string) ServerID {
	t.Helper()
	id, err := NewServerID("iri_back", name)
	require.NoError(t, err)
	return id
}

// The answers are HAProxy's own, of 2.6 to 3.4.
func TestAnswersOfSetServerAddr(t *testing.T) {
	cmd := SetAddr(server(t, "http1"), netip.MustParseAddrPort("127.0.0.2:21501"))
	for reply, ok := range map[string]bool{
		"IP changed from '127.0.0.1' to '127.0.0.2', port changed from '1' to '21501' by 'stats socket command'\n\n": true,
		"IP changed from 'A' to 'B', no need to change the port by 'stats socket command'\n":                         true,
		"port changed from '21501' to '1' by 'stats socket command'\n":                                               true,
		"no need to change the addr, no need to change the port by 'stats socket command'\n":                         true,
		"nothing changed\n":    true,
		"":                     false,
		"No such server.\n":    false,
		"Permission denied\n":  false,
		"Proxy is disabled.\n": false,
		"Invalid addr '999.0.0.1' by 'stats socket command'\n":                                          false,
		"IP changed from 'A' to 'B', problem converting port 'abc' to an int by 'stats socket command'": false,
		"IP changed from 'A' to 'B', can't change <port> to port map because it is incompatible":        false,
		"Update for the current server address family is only supported through configuration file.":    false,
	} {
		assert.Equal(t, ok, cmd.Err(reply) == nil, "%q", reply)
	}
}

func TestACommandIsMadeOfItsOwnFieldsOnly(t *testing.T) {
	id := server(t, "http1")
	evil, err := netip.ParseAddr("fe80::1%x; disable server iri_back")
	require.NoError(t, err, "netip takes any text as a zone")
	m, err := NewPath("/m/x.sni")
	require.NoError(t, err)
	a, err := NewHostname("A.example.")
	require.NoError(t, err)
	for want, cmd := range map[string]Command{
		"set server iri_back/http1 addr fe80::1 port 80":     SetAddr(id, netip.AddrPortFrom(evil, 80)),
		"set server iri_back/http1 addr 2001:db8::1 port 80": SetAddr(id, netip.MustParseAddrPort("[2001:db8::1]:80")),
		"set server iri_back/http1 weight 256":               SetWeight(id, 1000),
		"set server iri_back/http1 weight 0":                 SetWeight(id, -1),
		"set maxconn server iri_back/http1 0":                SetMaxConn(id, -1),
		"set maxconn server iri_back/http1 2147483647":       SetMaxConn(id, 4294967297),
		"set server iri_back/http1 state drain":              SetState(id, Drain),
		"set server iri_back/http1 health down":              SetDown(id),
		"add map /m/x.sni http1 a.example":                   SetSNI(m, id, "", a),
		"set map /m/x.sni http1 a.example":                   SetSNI(m, id, "b.example; quit", a),
		"del map /m/x.sni http1":                             SetSNI(m, id, "b.example", Hostname{}),
		"del server iri_back/http1":                          DelServer(id),
		"add server iri_back/http1 [2001:db8::1]:80 weight 256 maxconn 0": AddServer(NewServer{
			ID: id, Addr: netip.MustParseAddrPort("[2001:db8::1]:80"), Weight: 300, MaxConn: -1, SNI: a,
		}),
		"add server iri_back/http1 10.0.0.1:443 weight 1 maxconn 2 ssl verify none sni str(a.example)": AddServer(NewServer{
			ID: id, Addr: netip.MustParseAddrPort("10.0.0.1:443"), Weight: 1, MaxConn: 2, TLS: true, SNI: a,
		}),
		"add server iri_back/http1 10.0.0.1:443 weight 1 maxconn 2 ssl verify required ca-file /m/x.sni": AddServer(NewServer{
			ID: id, Addr: netip.MustParseAddrPort("10.0.0.1:443"), Weight: 1, MaxConn: 2, TLS: true, CAFile: m,
		}),
	} {
		assert.Equal(t, want, cmd.String())
	}
}

func TestPathsAndHostNamesThatACommandCouldNotCarryAreRefused(t *testing.T) {
	for _, path := range []string{"", "x", "/a b", "/a;b", "/a\nb", "/a)"} {
		_, err := NewPath(path)
		require.Error(t, err, "%q", path)
	}
	for _, name := range []string{
		"", ".", "a b", "a;b", "a\nb", "a)b", "a,b", "-a", "a-", "a..b", "ä", "a_b", strings.Repeat("a", 64), strings.Repeat("a.", 127) + "a",
	} {
		_, err := NewHostname(name)
		require.Error(t, err, "%q", name)
	}
}

func TestNamesThatAreNotHAProxysAreRefused(t *testing.T) {
	for _, name := range []string{"", "a b", "a/b", "a;b", "a\nb", "ä", "$x"} {
		_, err := NewServerID("iri_back", name)
		require.Error(t, err, "%q", name)
		_, err = NewServerID(name, "http1")
		require.Error(t, err, "%q", name)
	}
}

func TestReadingCommandsAcceptOnlyTheirKindOfAnswer(t *testing.T) {
	backend, err := NewBackendName("iri_back")
	require.NoError(t, err)
	m, err := NewPath("/m/x.sni")
	require.NoError(t, err)
	for line, test := range map[string]struct {
		cmd       Command
		good, bad string
	}{
		"show info":                   {ShowInfo(), "Name: HAProxy\n", ""},
		"show servers state iri_back": {ShowServersState(backend), "1\n# be_id\n", "Can't find backend.\n"},
		"show servers state":          {ShowServersState(BackendName{}), "1\n", "Permission denied\n"},
		"show map /m/x.sni":           {ShowMap(m), "0x1 a b\n", "Unknown map identifier. Please use #<id> or <file>.\n"},
		"show stat iri_back 6 -1":     {ShowStat(backend), "# pxname,svname\n", "No such proxy.\n"},
		"prompt":                      {Interactive(), "\n", "Unknown command\n"},
	} {
		assert.Equal(t, line, test.cmd.String())
		assert.False(t, test.cmd.Hidden())
		require.NoError(t, test.cmd.Err(test.good), line)
		require.Error(t, test.cmd.Err(test.bad), line)
	}
}

func TestARefusalSaysWhatItMeans(t *testing.T) {
	refusal := func(reply string) *CommandError {
		var refused *CommandError
		require.ErrorAs(t, SetDown(server(t, "http1")).Err(reply), &refused)
		return refused
	}
	assert.True(t, refusal("Proxy is disabled.\n").Replaced())
	assert.True(t, refusal("Can't find backend.").UnknownBackend())
	assert.True(t, refusal("Unknown map identifier. Please use #<id> or <file>.").UnknownMap())
	assert.True(t, refusal("Can't replace a certificate which is not referenced by the configuration!").Unused())
	assert.False(t, refusal("No such server.").Replaced())
	assert.Contains(t, (&CommandError{Command: "x"}).Error(), "(an empty answer)")
	assert.Less(t, len(refusal(strings.Repeat("x", 1000)).Error()), 300)
}
