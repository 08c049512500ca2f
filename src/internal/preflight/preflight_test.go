package preflight

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// commands puts scripts of the test's own in the place of docker and systemctl.
func commands(t *testing.T, docker, systemctl string) {
	t.Helper()
	dir := t.TempDir()
	for name, body := range map[string]string{"docker": docker, "systemctl": systemctl} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+body+"\n"), 0o755))
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func taken(t *testing.T) Port {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return Port{Variable: "iri_lb_handler_port", Address: netip.MustParseAddrPort(l.Addr().String())}
}

func TestATakenPortIsNamedByItsVariable(t *testing.T) {
	commands(t, "exit 1", "exit 1")
	p := taken(t)
	err := Run(t.Context(), Request{Ports: []Port{p}, Containers: []string{"consul"}, Units: []string{"iri-lb-handler.service"}})
	assert.ErrorContains(t, err, fmt.Sprintf("iri_lb_handler_port: port %s is used by ", p.Address))
}

func TestPortsOfInstalledServicesCountAsFree(t *testing.T) {
	p := taken(t)
	for name, asked := range map[string]struct {
		docker, systemctl string
		req               Request
	}{
		"a container": {fmt.Sprint("echo ", os.Getpid()), "exit 1", Request{Containers: []string{"consul"}}},
		"a unit":      {"exit 1", fmt.Sprint("echo ", os.Getpid()), Request{Units: []string{"iri-lb-handler.service"}}},
		"a socket of systemd": {
			"exit 1", fmt.Sprintf(`case $1$3 in is-active*) echo active ;; showListen) echo "%s (Stream)" ;; esac`, p.Address),
			Request{Units: []string{"iri-node-check.socket"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			commands(t, asked.docker, asked.systemctl)
			asked.req.Ports = []Port{p}
			assert.NoError(t, Run(t.Context(), asked.req))
		})
	}
}

func TestASocketThatSystemdDoesNotHoldIsNobodys(t *testing.T) {
	p := taken(t)
	commands(t, "exit 1", fmt.Sprintf(`case $1$3 in is-active*) echo inactive ;; showListen) echo "%s (Stream)" ;; esac`, p.Address))
	assert.Error(t, Run(t.Context(), Request{Ports: []Port{p}, Units: []string{"iri-node-check.socket"}}))
}

// host is a host with one file in HAProxy's folder, and a docker that tells what a container would see.
func host(t *testing.T) HAProxy {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "etc")
	require.NoError(t, os.MkdirAll(config, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(config, "own.map"), []byte("here before"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(config, "haproxy.cfg"), []byte("old"), 0o600))
	return HAProxy{
		Configuration: "new\nfrontend f\n    bind 127.0.0.1:1 # from iri_api_port_remote\n", ConfigFile: filepath.Join(config, "haproxy.cfg"),
		Image: "haproxy:3.0", Folders: []string{config, filepath.Join(dir, "lib")},
		Files: []string{filepath.Join(dir, "lib/srv.state")}, Certificates: []string{filepath.Join(config, "ssl/certkey.pem")},
		Authorities: filepath.Join(dir, "ca.crt"),
	}
}

// see prints what is mounted at each place, file by file.
const see = `for word; do case $word in type=bind*) from=${word#*src=} && grep -rH "" "${from%%,*}"; esac; done >&2; exit 1`

func TestTheCheckSeesTheFilesOfTheHostAndStandInsForTheOthers(t *testing.T) {
	commands(t, see, "exit 1")
	h := host(t)
	said := h.judge(t.Context()).Error()
	assert.Contains(t, said, "etc/own.map:here before")
	assert.Contains(t, said, "etc/haproxy.cfg:new")
	assert.NotContains(t, said, "haproxy.cfg:old")
	assert.Contains(t, said, "etc/ssl/certkey.pem:-----BEGIN EC PRIVATE KEY-----")
	assert.Contains(t, said, "ca.crt:-----BEGIN CERTIFICATE-----")
	assert.NoFileExists(t, h.Certificates[0], "the host is as it was")
	assert.NoFileExists(t, h.Files[0])
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "iri-lb-preflight*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestACertificateOfTheHostIsUsed(t *testing.T) {
	commands(t, see, "exit 1")
	h := host(t)
	require.NoError(t, os.MkdirAll(filepath.Dir(h.Certificates[0]), 0o755))
	require.NoError(t, os.WriteFile(h.Certificates[0], []byte("mine"), 0o600))
	require.NoError(t, os.WriteFile(h.Authorities, []byte("known"), 0o600))
	said := h.judge(t.Context()).Error()
	assert.Contains(t, said, "certkey.pem:mine")
	assert.Contains(t, said, "known")
	assert.NotContains(t, said, "BEGIN")
}

func TestWhatHAProxyRefusesNamesTheVariable(t *testing.T) {
	h := host(t)
	commands(t, fmt.Sprintf(`echo "[ALERT] (1) : config : parsing [%s:3] : bad port" >&2; exit 1`, h.ConfigFile), "exit 1")
	err := Run(t.Context(), Request{HAProxy: &h})
	assert.ErrorContains(t, err, "iri_api_port_remote: bad port\nHAProxy's own words:\n[ALERT] (1)")
}

func TestADockerThatFailsIsNotHAProxysVerdict(t *testing.T) {
	h := host(t)
	commands(t, "echo no such image >&2; exit 125", "exit 1")
	assert.ErrorContains(t, h.judge(t.Context()), "check HAProxy's configuration with the image haproxy:3.0: exit status 125\nno such image")
}

func TestWithoutTheImageOnlyThePortsAreTried(t *testing.T) {
	h := host(t)
	h.Image, h.Configuration = "", "frontend f\n    bind 203.0.113.7:80 # from lb_bind_address\n"
	commands(t, "exit 1", "exit 1")
	assert.EqualError(t, Run(t.Context(), Request{HAProxy: &h}), "haproxy.cfg:2 (lb_bind_address): 203.0.113.7 is not an address of this host")
}

func TestAWrongEntryOfTheListIsNamedWithItsReason(t *testing.T) {
	commands(t, "exit 1", "exit 1")
	for list, want := range map[string]string{
		`[]`:                           "",
		`[{"address": "10.100.0.10"}]`: "",
		`[{"address": "10.100.0.10"}, {"address": "10.100.0.11", "tag": []}]`: `iri_nodes: entry 2, {"address": "10.100.0.11", "tag": []}: json: unknown field "tag"`,
		`[{"address": "10.100.0.10"}, {"address": "10.100.0.10:14265"}]`:      `iri_nodes: entries 1 and 2 have the same id "10.100.0.10:14265"`,
		`[{"address": "10.100.0.10", "tags": ["haproxy.pow=perhaps"]}]`:       "iri_nodes: node 10.100.0.10:14265: tag haproxy.pow=perhaps: the value is not true, false or only",
		`[{"address": "10.100.0.10", "tags": ["haproxy.pools=archive"]}]`:     "iri_nodes: node 10.100.0.10:14265: tag haproxy.pools=archive: ",
		`[{"address": "10.100.0.10", "check": "pwo=true"}]`:                   `check options (Meta iri-check): unknown key "pwo"`,
		`[{"address": "10.100.0.10", "interval": "1ms"}]`:                     `"1ms" is not a time from 1s to 1h`,
		`[{"address": "127.0.0.1:14267"}]`:                                    "127.0.0.1:14267 is this load balancer itself",
		`{"address": "10.100.0.10"}`:                                          "iri_nodes: not a JSON list of nodes",
	} {
		err := Run(t.Context(), Request{Nodes: &Nodes{List: []byte(list), Pools: []string{"default", "pow"}, FrontendPort: 14267}})
		if want == "" {
			require.NoError(t, err, list)
			continue
		}
		assert.ErrorContains(t, err, want, list)
	}
}

func TestEveryWrongEntryIsNamedBesideWhatElseIsWrong(t *testing.T) {
	commands(t, "exit 1", "exit 1")
	err := Run(t.Context(), Request{
		Ports: []Port{{Variable: "lb_bind_address", Address: netip.MustParseAddrPort("203.0.113.7:80")}},
		Nodes: &Nodes{List: []byte(`[{"address": "a", "interval": "x"}, {"address": "b", "interval": "y"}]`)},
	})
	for _, want := range []string{"node a:14265: ", "node b:14265: ", "lb_bind_address: "} {
		assert.ErrorContains(t, err, want)
	}
}

func TestARequestThatCannotBeRead(t *testing.T) {
	req, err := Read(strings.NewReader(`{"ports": [{"variable": "x", "address": "127.0.0.1:1", "udp": true}], "haproxy": null}`))
	require.NoError(t, err)
	assert.Equal(t, Request{Ports: []Port{{"x", netip.MustParseAddrPort("127.0.0.1:1"), true}}}, req)
	for _, text := range []string{"", "{", `{"nonsense": 1}`, `{"ports": [{"address": "nowhere"}]}`} {
		_, err := Read(strings.NewReader(text))
		assert.ErrorContains(t, err, "standard input", text)
	}
}
