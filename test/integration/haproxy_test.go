//go:build integration

package integration

import (
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ory/dockertest/v3"
	"github.com/stretchr/testify/require"
)

// haproxy is one HAProxy in a container, with two backends of slots as the
// playbook's template declares them.
type haproxy struct {
	dir       string // holds the sockets, the configuration and the state file
	url       string // of the frontend
	container *dockertest.Resource
}

// configText has the backends' part of templates/haproxy.cfg.j2; the frontend
// chooses the PoW backend by a header.
const configText = `
global
    stats socket %[1]s/admin.sock mode 666 level admin expose-fd listeners
    stats timeout 1h
    server-state-file %[1]s/srv.state
    hard-stop-after 20s
    log stdout format short local0
defaults
    mode http
    log global
    option redispatch 1
    option idle-close-on-response
    retries 3
    timeout connect 2s
    timeout client 10s
    timeout server 30s
    timeout queue 5s
    load-server-state-from-file global
frontend front
    bind 127.0.0.1:%[2]d
    use_backend iri_pow_back if { req.hdr(X-Pool) pow }
    default_backend iri_back
backend iri_back
    balance roundrobin
    server-template http 1-%[3]d slot.invalid:1 disabled init-addr last,127.0.0.1
    server-template https 1-5 slot.invalid:1 disabled init-addr last,127.0.0.1 ssl verify required ca-file %[1]s/ca.pem sni srv_name,map(%[1]s/iri_back.sni)
    server-template https-noverify 1-5 slot.invalid:1 disabled init-addr last,127.0.0.1 ssl verify none sni srv_name,map(%[1]s/iri_back.sni)
backend iri_pow_back
    balance roundrobin
    server-template http 1-%[3]d slot.invalid:1 disabled init-addr last,127.0.0.1 maxconn 1
`

// startHAProxy adds more sections to the configuration when they are given.
func startHAProxy(t *testing.T, slots int, more ...string) *haproxy {
	t.Helper()
	h := &haproxy{dir: socketDir(t)}
	writeCertificate(t, h.dir, nodeA)
	port := freePorts(t, 1)[0]
	h.url = fmt.Sprintf("http://127.0.0.1:%d/", port)
	h.configure(t, fmt.Sprintf(configText, h.dir, port, slots)+strings.Join(more, ""))
	require.NoError(t, os.WriteFile(h.dir+"/srv.state", []byte("1\n"), 0o600))
	require.NoError(t, os.WriteFile(h.dir+"/iri_back.sni", nil, 0o600))
	h.container = startContainer(t, image("HAPROXY_IMAGE", "haproxy:3.0"), []string{"haproxy"},
		[]string{"-W", "-db", "-S", h.dir + "/master.sock,mode,666", "-f", h.dir + "/haproxy.cfg"}, h.dir+":"+h.dir)
	eventually(t, 20*time.Second, "HAProxy answers", func() error { _, err := h.command("show info"); return err })
	return h
}

func (h *haproxy) configure(t *testing.T, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(h.dir+"/haproxy.cfg", []byte(text), 0o600))
}

// socketDir is short: a socket's path has 107 characters at most.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lb")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (h *haproxy) command(line string) (string, error) { return askSocket(h.dir+"/admin.sock", line) }

// askSocket sends one command on a connection of its own.
func askSocket(path, line string) (string, error) {
	c, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		return "", err
	}
	out, err := io.ReadAll(c)
	return string(out), err
}

// slot is a row of "show stat".
type slot struct{ name, status, weight, maxconn string }

// slots are those of the backend that have an address of their own, by address.
func (h *haproxy) slots(t *testing.T, backend string) map[string]slot {
	t.Helper()
	out, err := h.command("show stat " + backend + " 4 -1")
	if err != nil {
		return nil
	}
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(out, "# "))).ReadAll()
	require.NoError(t, err)
	at := map[string]int{}
	for i, name := range rows[0] {
		at[name] = i
	}
	found := map[string]slot{}
	for _, r := range rows[1:] {
		if addr := r[at["addr"]]; addr != "127.0.0.1:1" {
			found[addr] = slot{r[at["svname"]], r[at["status"]], r[at["uweight"]], r[at["slim"]]}
		}
	}
	return found
}

// waitSlot waits until the slot of the address is as wanted; a zero want means
// that no slot has the address.
func (h *haproxy) waitSlot(t *testing.T, backend, addr string, want slot) {
	t.Helper()
	eventually(t, 15*time.Second, fmt.Sprintf("%s in %s is %+v", addr, backend, want), func() error {
		got := h.slots(t, backend)[addr]
		want := want
		if want.name == "" {
			got.name = ""
		}
		if got != want {
			return fmt.Errorf("it is %+v", got)
		}
		return nil
	})
}

var (
	up  = slot{status: "no check", weight: "1"}
	out = slot{status: "MAINT", weight: "1"}
)

func (h *haproxy) writeHandlerConfig(t *testing.T, consulAddress string, change ...string) string {
	t.Helper()
	text := fmt.Sprintf(`consul: {address: "%[1]s"}
service: iri
haproxy: {admin_sockets: [%[2]s/admin.sock], master_socket: %[2]s/master.sock, state_file: %[2]s/srv.state}
pools: [{name: default, backend: iri_back, maxconn: 0, sni_map: %[2]s/iri_back.sni}, {name: pow, backend: iri_pow_back, maxconn: 1}]
drain_timeout: 3s
resync_interval: 2s
listen: 127.0.0.1:%[3]d
log_level: info
`, consulAddress, h.dir, freePorts(t, 1)[0])
	for i := 0; i+1 < len(change); i += 2 {
		require.Contains(t, text, change[i])
		text = strings.Replace(text, change[i], change[i+1], 1)
	}
	path := filepath.Join(h.dir, "config.yml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}
