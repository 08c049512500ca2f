package harness

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// HandlerConfig is what tests decide on in the handler's config.yml. This file alone knows the format.
type HandlerConfig struct {
	Consul       string // its address
	TokenFile    string
	Service      string
	AdminSockets []string
	MasterSocket string
	StateFile    string
	// HAProxyFile is HAProxy's own configuration.
	HAProxyFile string
	NodesFile   string
	// Host is what Consul calls the handler's host, and Addresses are the virtual addresses.
	Host        string
	Addresses   []string
	Certificate string
	// CAFile is for servers that are added at runtime when SlotOverflow is set.
	CAFile         string
	SlotOverflow   bool
	Pools          []HandlerPool
	ReturnDelay    time.Duration
	DrainTimeout   time.Duration
	ResyncInterval time.Duration
	Listen         string
	LogLevel       string
}

// HandlerPool is one of the handler's pools.
type HandlerPool struct {
	Name, Backend, SNIMap string
	MaxConn               int
}

// HandlerConfig is for a handler that serves this HAProxy, with short intervals.
func (h *HAProxy) HandlerConfig(t *testing.T, consulAddress string) HandlerConfig {
	t.Helper()
	return HandlerConfig{
		Consul: consulAddress, Service: "iri",
		AdminSockets: []string{h.AdminSocket()}, MasterSocket: h.MasterSocket(), StateFile: h.StateFile(), HAProxyFile: h.ConfigFile(),
		NodesFile: h.Dir + "/nodes.json",
		Pools: []HandlerPool{
			{Name: "default", Backend: Backend, SNIMap: h.SNIMap(Backend)},
			{Name: "pow", Backend: PoWBackend, SNIMap: h.SNIMap(PoWBackend), MaxConn: 1},
		},
		DrainTimeout: 3 * time.Second, ResyncInterval: 2 * time.Second,
		Listen: Local(FreePorts(t, 1)[0]), LogLevel: "info",
	}
}

// WithoutSNI is for HAProxys that do not share one folder: the files of their maps have other paths.
func (c HandlerConfig) WithoutSNI() HandlerConfig {
	c.Pools = append([]HandlerPool{}, c.Pools...)
	for i := range c.Pools {
		c.Pools[i].SNIMap = ""
	}
	return c
}

// Write writes the file.
func (c HandlerConfig) Write(t *testing.T, path string) {
	t.Helper()
	haproxy := map[string]any{
		"admin_sockets": c.AdminSockets, "master_socket": c.MasterSocket, "state_file": c.StateFile, "config_file": c.HAProxyFile,
		"slot_overflow": c.SlotOverflow,
	}
	setUnlessEmpty(haproxy, "ca_file", c.CAFile)
	setUnlessEmpty(haproxy, "certificate", c.Certificate)
	consul := map[string]any{"address": c.Consul}
	setUnlessEmpty(consul, "token_file", c.TokenFile)
	var pools []map[string]any
	for _, p := range c.Pools {
		pool := map[string]any{"name": p.Name, "backend": p.Backend, "maxconn": p.MaxConn}
		setUnlessEmpty(pool, "sni_map", p.SNIMap)
		pools = append(pools, pool)
	}
	text, err := yaml.Marshal(map[string]any{
		"consul": consul, "service": c.Service, "host": c.Host, "addresses": c.Addresses, "nodes_file": c.NodesFile, "haproxy": haproxy, "pools": pools,
		"return_delay": c.ReturnDelay.String(), "drain_timeout": c.DrainTimeout.String(), "resync_interval": c.ResyncInterval.String(),
		"listen": c.Listen, "log_level": c.LogLevel,
	})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text, 0o600))
}

func setUnlessEmpty(in map[string]any, key, value string) {
	if value != "" {
		in[key] = value
	}
}

// Bed is what a test of the handler needs: Consul, a HAProxy, and the handler's configuration.
type Bed struct {
	*Consul
	*HAProxy
	Config     HandlerConfig
	ConfigFile string
	Daemon     *Process // nil until Run
}

// NewBed starts a Consul and a HAProxy, and no handler.
func NewBed(t *testing.T, opts ...Option) *Bed {
	t.Helper()
	return JoinBed(t, StartConsul(t), StartHAProxy(t, opts...))
}

// JoinBed makes a bed of what runs already.
func JoinBed(t *testing.T, c *Consul, h *HAProxy) *Bed {
	t.Helper()
	b := &Bed{Consul: c, HAProxy: h, Config: h.HandlerConfig(t, c.Address), ConfigFile: h.Dir + "/config.yml"}
	b.Config.Write(t, b.ConfigFile)
	return b
}

// Change changes the handler's configuration; a handler that runs does not read it again.
func (b *Bed) Change(t *testing.T, change func(*HandlerConfig)) {
	t.Helper()
	change(&b.Config)
	b.Config.Write(t, b.ConfigFile)
}

// Variant writes another configuration beside the bed's own and returns its file. A handler may run with each.
func (b *Bed) Variant(t *testing.T, change func(*HandlerConfig)) (file string) {
	t.Helper()
	c := b.Config
	c.Listen = Local(FreePorts(t, 1)[0])
	change(&c)
	dir, err := os.MkdirTemp(b.Dir, "variant")
	require.NoError(t, err)
	file = filepath.Join(dir, "config.yml")
	c.Write(t, file)
	return file
}

// Run starts the daemon.
func (b *Bed) Run(t *testing.T) {
	t.Helper()
	b.Daemon = StartProgram(t, "iri-lb-handler", "run", "--config", b.ConfigFile)
}

// Handler runs a command of iri-lb-handler to its end, with the bed's configuration.
func (b *Bed) Handler(t *testing.T, command string, args ...string) (int, string) {
	t.Helper()
	return RunProgram(t, "iri-lb-handler", append([]string{command, "--config", b.ConfigFile}, args...)...)
}

// RequireHandler runs a command that has to succeed.
func (b *Bed) RequireHandler(t *testing.T, command string, args ...string) {
	t.Helper()
	code, out := b.Handler(t, command, args...)
	require.Zero(t, code, "%s: %s", command, out)
}

// WaitLog waits until the daemon has written the text.
func (b *Bed) WaitLog(t *testing.T, text string) {
	t.Helper()
	Eventually(t, 10*time.Second, "the handler's log has "+text, func() error {
		if !strings.Contains(b.Daemon.Log(), text) {
			return fmt.Errorf("it has not")
		}
		return nil
	})
}

// Get asks the daemon's own HTTP server; a code of 0 means that it did not answer.
func (b *Bed) Get(t *testing.T, path string) (int, string) {
	t.Helper()
	resp, err := http.Get("http://" + b.Config.Listen + path)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

// WaitReady waits until the daemon is ready: it has reconciled at least once.
func (b *Bed) WaitReady(t *testing.T) {
	t.Helper()
	Eventually(t, 20*time.Second, "the handler is ready", func() error {
		if code, body := b.Get(t, "/readyz"); code != http.StatusOK {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
}
