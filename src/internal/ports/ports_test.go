package ports

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// listen takes a port for the time of the test.
func listen(t *testing.T, address string) Port {
	t.Helper()
	l, err := net.Listen("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return Port{Name: "here", Address: netip.MustParseAddrPort(l.Addr().String())}
}

// me is how messages call this process.
func me(t *testing.T) string {
	t.Helper()
	comm, err := os.ReadFile("/proc/self/comm")
	require.NoError(t, err)
	return fmt.Sprintf("%s (process %d)", comm[:len(comm)-1], os.Getpid())
}

func TestAFreePortIsFree(t *testing.T) {
	p := listen(t, "127.0.0.1:0")
	p.Address = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.99"), p.Address.Port())
	require.NoError(t, Check([]Port{p}, nil))
	l, err := net.Listen("tcp", p.Address.String())
	require.NoError(t, err, "the check left something behind")
	require.NoError(t, l.Close())
}

func TestATakenPortNamesItsOwner(t *testing.T) {
	p := listen(t, "127.0.0.1:0")
	require.EqualError(t, Check([]Port{p}, nil), fmt.Sprintf("here: port %s is used by %s", p.Address, me(t)))
	p.Address = netip.AddrPortFrom(netip.IPv4Unspecified(), p.Address.Port())
	require.EqualError(t, Check([]Port{p}, nil), fmt.Sprintf("here: port %s is used by %s", p.Address, me(t)), "all addresses are wanted")
}

func TestATakenPortForIPv6(t *testing.T) {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 on this machine")
	}
	defer func() { _ = l.Close() }()
	p := Port{Name: "here", Address: netip.MustParseAddrPort(l.Addr().String())}
	require.ErrorContains(t, Check([]Port{p}, nil), "is used by "+me(t))
	p.Address, p.V6Only = netip.AddrPortFrom(netip.IPv6Unspecified(), p.Address.Port()), true
	require.ErrorContains(t, Check([]Port{p}, nil), "is used by "+me(t))
}

func TestATakenPortForDatagrams(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	p := Port{Name: "here", UDP: true, Address: netip.MustParseAddrPort(c.LocalAddr().String())}
	require.ErrorContains(t, Check([]Port{p}, nil), "is used by "+me(t))
	p.UDP = false
	require.NoError(t, Check([]Port{p}, nil), "TCP has its own ports")
}

func TestOurOwnPortsCountAsFree(t *testing.T) {
	p := listen(t, "127.0.0.1:0")
	require.NoError(t, Check([]Port{p}, []int{os.Getpid()}))
	require.NoError(t, Check([]Port{p}, []int{os.Getppid()}), "a descendant")
	p.Address = netip.AddrPortFrom(netip.IPv4Unspecified(), p.Address.Port())
	require.NoError(t, Check([]Port{p}, []int{os.Getpid()}), "on another address")
	other := exec.Command("sleep", "60")
	require.NoError(t, other.Start())
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	require.Error(t, Check([]Port{p}, []int{other.Process.Pid}), "somebody else's")
}

func TestAnAddressOfAnotherHost(t *testing.T) {
	p := Port{Name: "lb_bind_address", Address: netip.MustParseAddrPort("203.0.113.7:80")}
	require.EqualError(t, Check([]Port{p}, nil), "lb_bind_address: 203.0.113.7 is not an address of this host")
}

func TestEveryPortThatIsTakenIsNamed(t *testing.T) {
	a, b := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.2:0")
	a.Name, b.Name = "first", "second"
	err := Check([]Port{a, b}, nil)
	assert.ErrorContains(t, err, "first: port 127.0.0.1:")
	assert.ErrorContains(t, err, "\nsecond: port 127.0.0.2:")
}

func TestWhoListensOnASocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	assert.Equal(t, []int{os.Getpid()}, Listeners(path, "/nowhere/admin.sock"))
	require.NoError(t, l.Close())
	assert.Empty(t, Listeners(path))
}

func TestPortsOfHAProxyAreNamedAfterLineAndVariable(t *testing.T) {
	all := OfHAProxy("/etc/haproxy/haproxy.cfg", "frontend f\n    bind :80 # from iri_api_port_remote\n    bind 127.0.0.1:81\n")
	assert.Equal(t, []Port{
		{Name: "haproxy.cfg:2 (iri_api_port_remote)", Address: netip.MustParseAddrPort("0.0.0.0:80")},
		{Name: "haproxy.cfg:3", Address: netip.MustParseAddrPort("127.0.0.1:81")},
	}, all)
}

func TestWhichSocketsAreInTheWay(t *testing.T) {
	for name, test := range map[string]struct {
		have, want string
		v6only     bool
		overlaps   bool
	}{
		"the same":                          {"127.0.0.1:1", "127.0.0.1:1", false, true},
		"another port":                      {"127.0.0.1:1", "127.0.0.1:2", false, false},
		"another address":                   {"127.0.0.1:1", "127.0.0.2:1", false, false},
		"all addresses":                     {"0.0.0.0:1", "127.0.0.2:1", false, true},
		"all addresses wanted":              {"127.0.0.1:1", "0.0.0.0:1", false, true},
		"IPv6 for IPv4":                     {"[::1]:1", "0.0.0.0:1", false, false},
		"all addresses of both":             {"[::]:1", "127.0.0.1:1", false, true},
		"all addresses of both wanted":      {"127.0.0.1:1", "[::]:1", false, true},
		"all addresses of IPv6 only wanted": {"127.0.0.1:1", "[::]:1", true, false},
		"IPv4 in IPv6":                      {"[::ffff:127.0.0.1]:1", "127.0.0.1:1", false, true},
	} {
		s := socket{local: netip.MustParseAddrPort(test.have)}
		assert.Equal(t, test.overlaps, s.overlaps(Port{Address: netip.MustParseAddrPort(test.want), V6Only: test.v6only}), name)
	}
}
