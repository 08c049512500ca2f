package harness

import (
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Backend and PoWBackend are the names of the two pools' backends in the template.
const (
	Backend    = "iri_back"
	PoWBackend = "iri_pow_back"
)

// HAProxy runs in a container with the playbook's template, templates/haproxy.cfg.j2. Its files have the same paths
// inside and outside of the container.
type HAProxy struct {
	// Dir has the folders etc, lib and run, which are /etc/haproxy, /var/lib/haproxy and /run/haproxy on a host.
	Dir string
	// URL and Port are those of wallets.
	URL       string
	Port      int
	StatsPort int
	HTTPS     bool
	Container *Container
}

// Option is what a test wants of its HAProxy.
type Option func(*options)

type options struct {
	vars     Vars
	sections string
	// tree is the folder of the repository that the configuration comes from.
	tree string
}

// WithVars sets Ansible variables.
func WithVars(vars Vars) Option {
	return func(o *options) { maps.Copy(o.vars, vars) }
}

// WithSlots is the number of slots for http in each pool; there are five more of each kind for https.
func WithSlots(n int) Option {
	return WithVars(Vars{
		"max_backend_slots": n, "max_pow_backend_slots": n, "max_backend_tls_slots": 5, "max_pow_backend_tls_slots": 5,
	})
}

// WithoutHealthChecks has a slot serve as soon as the handler has put a node into it, where an installation waits for
// HAProxy's own check of the node. Tests of the handler alone use it, and nodes need not listen.
func WithoutHealthChecks() Option { return WithVars(Vars{"haproxy_health_checks": false}) }

// WithSections appends sections of the test's own to the configuration. /etc/haproxy/ in them is this HAProxy's folder.
func WithSections(text string) Option {
	return func(o *options) { o.sections += text }
}

// StartHAProxy runs a HAProxy that is configured as it is installed, but for testVars and the options.
func StartHAProxy(t *testing.T, opts ...Option) *HAProxy {
	t.Helper()
	h := PrepareHAProxies(t, []string{"127.0.0.1"}, opts...)[0]
	h.Start(t)
	return h
}

// PrepareHAProxies writes all files of the load balancers of one installation, by their addresses, and starts none.
func PrepareHAProxies(t *testing.T, addresses []string, opts ...Option) []*HAProxy {
	t.Helper()
	o := options{vars: Vars{}, tree: Root()}
	for _, opt := range opts {
		opt(&o)
	}
	free := FreePorts(t, 4)
	ports := map[string]int{walletsPort: free[0], statsPort: free[1], adminPort: free[2], peersPort: free[3]}
	var names []string
	for i := range addresses {
		names = append(names, fmt.Sprintf("lb%d", i+1))
	}
	peers := t.TempDir()
	WriteCertificate(t, peers, names...)
	var all []*HAProxy
	for i, text := range render(t, o.tree, addresses, o.vars) {
		h := NewHAProxy(t)
		for from, to := range map[string]string{"certkey.pem": "peers.pem", "ca.pem": "peers-ca.pem"} {
			require.NoError(t, os.Link(filepath.Join(peers, from), filepath.Join(h.Dir, "etc/ssl", to)))
		}
		h.Port, h.StatsPort, h.HTTPS = free[0], free[1], o.vars["haproxy_https"] == true
		scheme := "http"
		if h.HTTPS {
			scheme = "https"
		}
		h.URL = fmt.Sprintf("%s://%s:%d/", scheme, addresses[i], h.Port)
		// All of them share this machine, and each has its own address here.
		text = strings.ReplaceAll(text, "bind *:"+peersPort, "bind "+addresses[i]+":"+peersPort)
		h.Configure(t, place(text+o.sections, h.Dir, ports))
		all = append(all, h)
	}
	return all
}

// NewHAProxy has what the playbook puts beside the configuration, and no configuration yet: for a HAProxy that the
// template is compared with.
func NewHAProxy(t *testing.T) *HAProxy {
	t.Helper()
	h := &HAProxy{Dir: ShortDir(t)}
	for _, folder := range []string{"etc/ssl", "lib", "run"} {
		require.NoError(t, os.MkdirAll(filepath.Join(h.Dir, folder), 0o755))
	}
	WriteCertificate(t, h.Dir+"/etc", NodeA)
	WriteCertificate(t, h.Dir+"/etc/ssl", "127.0.0.1", "lb.example.org")
	for name, content := range map[string]string{
		h.Whitelist(): "# nobody\n", h.StateFile(): "1\n", h.SNIMap(Backend): "", h.SNIMap(PoWBackend): "",
	} {
		require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
	}
	return h
}

// The files of an installation.

// ConfigFile is haproxy.cfg.
func (h *HAProxy) ConfigFile() string { return h.Dir + "/etc/haproxy.cfg" }

// NodesCA is the authority that HAProxy trusts for nodes. It is the certificate of NodeA as well, with NodesKey.
func (h *HAProxy) NodesCA() string { return h.Dir + "/etc/ca.pem" }

// NodesKey is the key of NodesCA.
func (h *HAProxy) NodesKey() string { return h.Dir + "/etc/key.pem" }

// WalletsCA is the authority that wallets have to trust.
func (h *HAProxy) WalletsCA() string { return h.Dir + "/etc/ssl/ca.pem" }

// CertKey is the certificate that wallets see, with its key.
func (h *HAProxy) CertKey() string { return h.Dir + "/etc/ssl/certkey.pem" }

// Whitelist is the file of haproxy_use_whitelist_file.
func (h *HAProxy) Whitelist() string { return h.Dir + "/etc/whitelist.lst" }

// StateFile is where slots outlive a reload.
func (h *HAProxy) StateFile() string { return h.Dir + "/lib/srv.state" }

// SNIMap is the file with the names of the nodes of a backend.
func (h *HAProxy) SNIMap(backend string) string { return h.Dir + "/lib/" + backend + ".sni" }

// AdminSocket is the runtime API.
func (h *HAProxy) AdminSocket() string { return h.Dir + "/run/admin.sock" }

// MasterSocket is the socket of the master process.
func (h *HAProxy) MasterSocket() string { return h.Dir + "/run/master.sock" }

// Configure replaces the configuration; HAProxy reads it at its next start or reload.
func (h *HAProxy) Configure(t *testing.T, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(h.ConfigFile(), []byte(text), 0o600))
}

// Configuration is the text of the configuration.
func (h *HAProxy) Configuration(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(h.ConfigFile())
	require.NoError(t, err)
	return string(text)
}

// Start runs the container and waits until HAProxy answers.
func (h *HAProxy) Start(t *testing.T) {
	t.Helper()
	h.Container = StartContainer(t, HAProxyImage(), "haproxy",
		[]string{"-W", "-db", "-S", h.MasterSocket() + ",mode,666", "-f", h.ConfigFile()}, h.Dir+":"+h.Dir)
	Eventually(t, 20*time.Second, "HAProxy answers", func() error { _, err := h.Command("show info"); return err })
}

// Validate has HAProxy judge its configuration, warnings as errors.
func (h *HAProxy) Validate(t *testing.T) (code int, said string) {
	t.Helper()
	c := StartContainer(t, HAProxyImage(), "haproxy", []string{"-c", "-dW", "-f", h.ConfigFile()}, h.Dir+":"+h.Dir)
	code = c.Wait(t)
	return code, c.Logs(t)
}

// Command sends a command to the runtime API, with all rights.
func (h *HAProxy) Command(line string) (string, error) { return AskSocket(h.AdminSocket(), line) }

// AskSocket sends one command on a connection of its own.
func AskSocket(path, line string) (string, error) {
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

// Info is a field of "show info".
func (h *HAProxy) Info(t *testing.T, name string) string {
	t.Helper()
	info, err := h.Command("show info")
	require.NoError(t, err)
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// WorkerPID is the process ID, on the host, of the process that has the connections: the child of the master.
func (h *HAProxy) WorkerPID(t *testing.T) int {
	t.Helper()
	master := h.Container.PID(t)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", master, master))
	require.NoError(t, err)
	var pid int
	_, err = fmt.Sscan(string(text), &pid)
	require.NoError(t, err, "HAProxy's master has no worker")
	return pid
}
