package haproxy

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// As HAProxy 3.0 prints it, shortened to the columns up to the port.
const stateText = `1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port
3 iri_back 1 http1 127.0.0.11 2 4 7 1 12 1 0 0 0 0 0 0 slot.invalid 14265 - 0 0 - - 0
3 iri_back 2 http2 127.0.0.1 0 5 1 1 12 1 0 0 0 0 0 0 slot.invalid 1 - 0 0 - - 0
3 iri_back 3 https1 ::1 2 12 1 1 12 1 0 0 0 0 0 0 slot.invalid 14266 - 1 0 - - 0
3 iri_back 4 http3 - 0 37 1 1 12 1 0 0 0 0 0 0 - 1 - 0 0 - - 0
3 iri_back 5 http4 127.0.0.12 0 4 1 1 12 7 2 0 6 0 0 0 slot.invalid 14265 - 0 0 - - 0

`

const header = "1\n# be_name srv_name srv_addr srv_port srv_op_state srv_admin_state srv_uweight srv_time_since_last_change srv_check_state srv_check_port srv_check_addr\n"

func TestServersStateIsReadByColumnNames(t *testing.T) {
	servers, err := ParseServersState(stateText)
	require.NoError(t, err)
	require.Len(t, servers, 5)
	assert.Equal(t, Server{
		ID: server(t, "http1"), Addr: netip.MustParseAddrPort("127.0.0.11:14265"), State: Ready, Up: true, Weight: 7, Since: 12 * time.Second,
	}, servers[0])
	assert.True(t, servers[4].Checked)
	assert.False(t, servers[4].Up, "HAProxy's own check calls it down")
	assert.Equal(t, Maint, servers[1].State)
	assert.Equal(t, Drain, servers[2].State)
	assert.Equal(t, netip.MustParseAddrPort("[::1]:14266"), servers[2].Addr)
	assert.False(t, servers[3].Addr.Addr().IsValid())
}

func TestOddAnswersOfShowServersStateAreErrors(t *testing.T) {
	for name, text := range map[string]string{
		"empty":            "",
		"another version":  "2\n# be_name\n",
		"no columns":       "1\n",
		"a column missing": "1\n# be_name srv_name srv_addr\n",
		"half a line":      header + "iri_back http1 127.0.0.1\n",
		"a wrong address":  header + "iri_back http1 x 1 2 1 1 1 1 0 -\n",
		"a wrong name":     header + "iri_back a;b 127.0.0.1 1 2 1 1 1 1 0 -\n",
		"a wrong number":   header + "iri_back http1 127.0.0.1 1 2 x 1 1 1 0 -\n",
	} {
		_, err := ParseServersState(text)
		assert.Error(t, err, name)
	}
}

func TestStatGivesLimitsAndLoad(t *testing.T) {
	loads, err := ParseStat("# pxname,svname,qcur,qmax,scur,smax,slim,stot\n" +
		"iri_back,http1,2,0,3,9,50,1\niri_back,http2,0,0,0,0,,\niri_back,BACKEND,4,0,0,0,200,\n\n")
	require.NoError(t, err)
	assert.Equal(t, Loads{Queued: 4, Servers: map[ServerID]Load{
		server(t, "http1"): {MaxConn: 50, Busy: 5, Queued: 2}, server(t, "http2"): {},
	}}, loads)
}

func TestOddAnswersOfShowStatAreErrors(t *testing.T) {
	for _, text := range []string{
		"", "No such proxy.\n", "# pxname,svname\n",
		"# pxname,svname,qcur,scur,slim\niri_back,http1,0\n",
		"# pxname,svname,qcur,scur,slim\niri_back,http1,0,x,0\n",
	} {
		_, err := ParseStat(text)
		assert.Error(t, err, "%q", text)
	}
}

const checkHeader = "# pxname,svname,qcur,slim,scur,wretr,wredis,status,lastchg,check_status,last_chk,check_desc,addr,\n"

func TestChecksAreReadByColumnNames(t *testing.T) {
	all, err := ParseChecks(checkHeader +
		"iri_back,http1,0,,0,2,3,UP 1/3,9,L7OK,,Layer7 check passed,127.0.0.11:14265,\n" +
		"iri_back,http2,0,,0,,,MAINT,9,,,,127.0.0.1:1,\n" +
		"iri_back,http3,0,,0,0,0,DOWN 1/2,70,L7STS,\"HTTP/1.1 500 \"\"x\"\",\n\x1b[1m\xff\",Layer7 wrong status,[::1]:80,\n" +
		"iri_back,http4,0,,0,0,0,no check,0,,,,127.0.0.12:14265,\n" +
		"iri_back,http5,0,,0,0,0,DOWN,1,* L4CON,,Layer4 connection problem,127.0.0.13:14265,\n" +
		"iri_back,http6,0,,0,0,0,DOWN,1,INI,,Initializing,-,\n" +
		"iri_back,BACKEND,0,,0,2,3,UP,9,,,,,\n\n")
	require.NoError(t, err)
	assert.Equal(t, []CheckedServer{
		{ID: server(t, "http1"), Addr: netip.MustParseAddrPort("127.0.0.11:14265"), Code: "L7OK", Reason: "Layer7 check passed", Since: 9 * time.Second, Retries: 3},
		{
			ID: server(t, "http3"), Addr: netip.MustParseAddrPort("[::1]:80"), State: CheckDown, Code: "L7STS", Since: 70 * time.Second,
			Reason: `Layer7 wrong status: HTTP/1.1 500 \"x\",\n\x1b[1m\xff`,
		},
		{ID: server(t, "http4"), Addr: netip.MustParseAddrPort("127.0.0.12:14265"), State: CheckOff},
		{
			ID: server(t, "http5"), Addr: netip.MustParseAddrPort("127.0.0.13:14265"), State: CheckDown, Code: "L4CON", Running: true,
			Reason: "Layer4 connection problem", Since: time.Second,
		},
		{ID: server(t, "http6"), State: CheckDown, Code: "INI", Reason: "Initializing", Since: time.Second},
	}, all)
	assert.Equal(t, []bool{false, true, false, true, false}, []bool{all[0].Failed(), all[1].Failed(), all[2].Failed(), all[3].Failed(), all[4].Failed()})
}

func TestWhatANodeAnswersDoesNotSpoilTheOtherLines(t *testing.T) {
	loads, err := ParseStat("# pxname,svname,qcur,scur,slim,last_chk\niri_back,http1,0,1,0,\"a\niri_back,http2,0,9,0,\"\"x\"\n" +
		"iri_back,http2,0,2,0,\n")
	require.NoError(t, err)
	assert.Equal(t, map[ServerID]Load{server(t, "http1"): {Busy: 1}, server(t, "http2"): {Busy: 2}}, loads.Servers)
}

func TestOddAnswersWithChecksAreErrors(t *testing.T) {
	for _, text := range []string{
		"", "No such proxy.\n", "# pxname,svname\n", checkHeader + "iri_back,http1,0,,0,0,0,UP\n",
		checkHeader + "iri_back,http1,0,,0,0,0,UP,9,L7OK,\"x,y,z,\n", checkHeader + "iri_back,http1,0,,0,0,x,UP,9,L7OK,,,127.0.0.1:1,\n",
		checkHeader + "iri;back,http1,0,,0,0,0,UP,9,L7OK,,,127.0.0.1:1,\n",
	} {
		_, err := ParseChecks(text)
		assert.Error(t, err, "%q", text)
	}
}

func FuzzParseChecks(f *testing.F) {
	f.Add(checkHeader + "iri_back,http3,0,,0,0,0,DOWN 1/2,70,L7STS,\"HTTP/1.1 500 \"\"x\"\",\n\",Layer7 wrong status,[::1]:80,\n")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := ParseChecks(text)
		if err != nil {
			return
		}
		for _, s := range all {
			if strings.ContainsAny(s.Reason, "\n\r\x1b\x00") || len(s.Reason) > 2000 {
				t.Fatalf("%q", s.Reason)
			}
		}
	})
}

func TestInfoTellsWorkersApart(t *testing.T) {
	info, err := ParseInfo("Name: HAProxy\nVersion: 3.0.11\nPid: 8\nStart_time_sec: 1700000000\nStopping: 1\n\n")
	require.NoError(t, err)
	assert.Equal(t, Info{Worker: Worker{"8", "1700000000"}, Version: "3.0.11", Stopping: true}, info)
	assert.Equal(t, "2023-11-14T22:13:20Z", info.Worker.StartTime().Format(time.RFC3339))
	assert.Zero(t, Worker{Pid: "8"}.StartTime(), "an old HAProxy does not say")
	_, err = ParseInfo("Unknown command\n")
	assert.Error(t, err)
}

func TestAMapIsReadByItsKeys(t *testing.T) {
	assert.Equal(t, map[string]string{"https1": "node.example", "https2": ""}, ParseMap("0x55d0 https1 node.example\n0x55d1 https2\n\n"))
	assert.Empty(t, ParseMap("\n"))
}

func FuzzParseServersState(f *testing.F) {
	f.Add(stateText)
	f.Add(header + "iri_back http1 fe80::1%x 1 2 1 1 1 1 0 -\n")
	f.Fuzz(func(t *testing.T, text string) {
		servers, err := ParseServersState(text)
		if err != nil {
			return
		}
		for _, s := range servers {
			if _, err := NewServerID(s.ID.Backend(), s.ID.Name()); err != nil {
				t.Fatalf("a name that is none: %v", err)
			}
		}
	})
}

func FuzzParseStat(f *testing.F) {
	f.Add("# pxname,svname,qcur,qmax,scur,smax,slim,stot\niri_back,http1,2,0,3,9,50,1\n")
	f.Fuzz(func(_ *testing.T, text string) { _, _ = ParseStat(text) })
}

func FuzzParseInfo(f *testing.F) {
	f.Add("Name: HAProxy\nVersion: 3.0.11\nPid: 8\nStart_time_sec: 1700000000\nStopping: 1\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		if info, err := ParseInfo(text); err == nil && info.Worker.Pid == "" {
			t.Fatal("a worker without a process id")
		}
	})
}

// FuzzNamesInCommands: whatever passes as a name is one word of harmless
// characters.
func FuzzNamesInCommands(f *testing.F) {
	f.Add("iri_back", "http1", "node.example.org", "/var/lib/haproxy/iri_back.sni")
	f.Add("b;quit", "a b", "x.example)", "/x\ny")
	f.Fuzz(func(t *testing.T, backend, server, host, path string) {
		id, err := NewServerID(backend, server)
		if err != nil {
			return
		}
		h, _ := NewHostname(host)
		m, _ := NewPath(path)
		cmds := []Command{
			SetState(id, Ready), SetDown(id), DelServer(id),
			AddServer(NewServer{ID: id, Addr: netip.MustParseAddrPort("10.0.0.1:1"), TLS: true, CAFile: m, SNI: h}),
		}
		if h != (Hostname{}) && m != (Path{}) {
			cmds = append(cmds, SetSNI(m, id, host, h), SetSNI(m, id, "", h))
		}
		for _, cmd := range cmds {
			if strings.ContainsAny(cmd.String(), ";\n\r\\\"'<%") || len(strings.Fields(cmd.String())) > 15 {
				t.Fatalf("%q", cmd)
			}
		}
	})
}

func TestWhatWasDoneToACheckByHandIsSeen(t *testing.T) {
	for columns, want := range map[string]Server{
		"6 0 -":          {Checked: true},
		"2 0 -":          {CheckDisabled: true},
		"0 0 -":          {},
		"6 99 127.0.0.9": {Checked: true, CheckPort: 99, CheckAddr: netip.MustParseAddr("127.0.0.9")},
		"6 0 0.0.0.0":    {Checked: true},
		"6 0 ::":         {Checked: true},
	} {
		servers, err := ParseServersState(header + "iri_back http1 127.0.0.1 1 2 0 1 1 " + columns + "\n")
		require.NoError(t, err)
		got := servers[0]
		assert.Equal(t, want, Server{Checked: got.Checked, CheckDisabled: got.CheckDisabled, CheckAddr: got.CheckAddr, CheckPort: got.CheckPort}, columns)
	}
}
