package daemon

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.yaml.in/yaml/v3"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/mirror"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

// DefaultConfigPath is where the playbook puts the configuration.
const DefaultConfigPath = "/etc/iri-lb-handler/config.yml"

// Config is the handler's configuration file.
type Config struct {
	Consul  ConsulConfig  `yaml:"consul"`
	Service string        `yaml:"service"`
	HAProxy HAProxyConfig `yaml:"haproxy"`
	Pools   []PoolConfig  `yaml:"pools"`
	// Host is what Consul calls this host; "" is its name up to the first dot.
	Host string `yaml:"host"`
	// Addresses are the virtual addresses that this host may have.
	Addresses []string `yaml:"addresses"`
	// NodesFile keeps the last list of nodes for a start without Consul; "" for none.
	NodesFile string `yaml:"nodes_file"`
	// WarningPercent is the share of its weight that a node in Consul's warning state keeps, 1 to 100.
	WarningPercent int `yaml:"warning_percent"`
	// GuardPercent is the share of the serving nodes, at least three, that one answer of Consul may take out without being
	// confirmed. 0 is any.
	GuardPercent int `yaml:"guard_percent"`
	// MaxEjectedPercent is the share of a pool's nodes in service that HAProxy's own checks may take out; 100 is all.
	MaxEjectedPercent int `yaml:"max_ejected_percent"`
	// ReturnDelay is how long a node must have been passing before it comes back.
	ReturnDelay time.Duration `yaml:"return_delay"`
	// DrainTimeout is how long a slot waits for its last request.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
	// ResyncInterval is how often all slots are compared without an event.
	ResyncInterval time.Duration `yaml:"resync_interval"`
	// Listen is the loopback address of /metrics, /healthz and /readyz.
	Listen   string `yaml:"listen"`
	LogLevel string `yaml:"log_level"`
}

// ConsulConfig says which agent to query.
type ConsulConfig struct {
	Address   string `yaml:"address"`
	TokenFile string `yaml:"token_file"`
}

// HAProxyConfig says how to reach HAProxy.
type HAProxyConfig struct {
	// AdminSockets are the stats sockets of all HAProxy processes to keep in line. A reload is that of the first.
	AdminSockets []string `yaml:"admin_sockets"`
	MasterSocket string   `yaml:"master_socket"`
	StateFile    string   `yaml:"state_file"`
	// ConfigFile is HAProxy's configuration. Before a reload its ports are tried; "": they are not.
	ConfigFile string `yaml:"config_file"`
	// SlotOverflow adds a server at runtime for each node that finds no slot.
	SlotOverflow bool `yaml:"slot_overflow"`
	// CAFile verifies the nodes behind such servers, as HAProxy sees the path.
	CAFile string `yaml:"ca_file"`
	// FrontendPort is where HAProxy serves wallets; 0: unknown. This host's own addresses with this port are no nodes.
	FrontendPort uint16 `yaml:"frontend_port"`
	// Certificate is the file that HAProxy reads its own certificate and key from. HAProxy knows them by this path.
	Certificate string `yaml:"certificate"`
}

// PoolConfig is one pool: a backend of HAProxy and the nodes in it.
type PoolConfig struct {
	// Name is what tags call the pool.
	Name    string `yaml:"name"`
	Backend string `yaml:"backend"`
	// SNIMap is the map file of the backend's server-templates that gives a slot its name for TLS; "" where they have none.
	SNIMap string `yaml:"sni_map"`
	// MaxConn is for nodes that say nothing of their own; 0 means no limit.
	MaxConn int `yaml:"maxconn"`
}

// DefaultConfig is what holds for keys that the file leaves out.
func DefaultConfig() Config {
	return Config{
		Consul:  ConsulConfig{Address: "http://127.0.0.1:8500"},
		Service: "iri",
		HAProxy: HAProxyConfig{
			AdminSockets: []string{"/run/haproxy/admin.sock"},
			MasterSocket: "/run/haproxy/master.sock",
			StateFile:    "/var/lib/haproxy/srv.state",
			ConfigFile:   "/etc/haproxy/haproxy.cfg",
			Certificate:  "/etc/haproxy/ssl/certkey.pem",
		},
		Pools: []PoolConfig{
			{Name: registry.DefaultPool, Backend: "iri_back"},
			{Name: registry.PoWPool, Backend: "iri_pow_back", MaxConn: 1},
		},
		NodesFile:         "/var/lib/iri-lb-handler/nodes.json",
		WarningPercent:    25,
		GuardPercent:      50,
		MaxEjectedPercent: 50,
		DrainTimeout:      60 * time.Second,
		ResyncInterval:    30 * time.Second,
		Listen:            "127.0.0.1:9294",
		LogLevel:          "info",
	}
}

// LoadConfig reads the file and checks every value. Errors name the file and the key.
func LoadConfig(path string) (Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	defer func() { _ = f.Close() }()
	cfg := DefaultConfig()
	cfg.Pools = nil // the file's pools replace the default ones; they are not merged into them
	dec := yaml.NewDecoder(f)
	dec.KnownFields(true)
	if err := dec.Decode(&cfg); errors.Is(err, io.EOF) {
		return Config{}, fmt.Errorf("configuration %s: the file is empty", path)
	} else if err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	if cfg.Pools == nil {
		cfg.Pools = DefaultConfig().Pools
	}
	if err := cfg.check(); err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	return cfg, nil
}

func (c Config) check() error {
	return errors.Join(
		checkURL(c.Consul.Address),
		checkSet("service", c.Service),
		c.HAProxy.checkSockets(),
		checkPath("haproxy.master_socket", c.HAProxy.MasterSocket),
		checkPath("haproxy.state_file", c.HAProxy.StateFile),
		checkFile("haproxy.config_file", c.HAProxy.ConfigFile),
		checkFile("haproxy.ca_file", c.HAProxy.CAFile),
		checkSet("haproxy.certificate", c.HAProxy.Certificate),
		checkFile("haproxy.certificate", c.HAProxy.Certificate),
		c.checkPools(),
		checkHost(c.Host),
		checkAddresses(c.Addresses),
		checkNodesFile(c.NodesFile),
		checkPercent("warning_percent", c.WarningPercent, 1),
		checkPercent("guard_percent", c.GuardPercent, 0),
		checkPercent("max_ejected_percent", c.MaxEjectedPercent, 0),
		checkReturnDelay(c.ReturnDelay),
		checkDuration("drain_timeout", c.DrainTimeout),
		checkDuration("resync_interval", c.ResyncInterval),
		checkLoopback(c.Listen),
		checkLevel(c.LogLevel),
	)
}

func (c Config) checkPools() error {
	if len(c.Pools) == 0 {
		return errors.New("pools: must name at least one pool")
	}
	names, backends := map[string]bool{}, map[string]bool{}
	for i, p := range c.Pools {
		key := fmt.Sprintf("pools[%d]", i)
		switch {
		case !poolName.MatchString(p.Name):
			return fmt.Errorf("%s.name: %q is not a name of letters, digits, '_' and '-'", key, p.Name)
		case names[p.Name]:
			return fmt.Errorf("%s.name: %q is there twice", key, p.Name)
		case backends[p.Backend]:
			return fmt.Errorf("%s.backend: %q is the backend of another pool, too", key, p.Backend)
		case p.MaxConn < 0 || p.MaxConn > haproxy.MaxMaxConn:
			return fmt.Errorf("%s.maxconn: %d is not between 0 and %d", key, p.MaxConn, haproxy.MaxMaxConn)
		}
		if _, err := haproxy.NewBackendName(p.Backend); err != nil {
			return fmt.Errorf("%s.backend: %w", key, err)
		}
		if err := checkFile(key+".sni_map", p.SNIMap); err != nil {
			return err
		}
		names[p.Name], backends[p.Backend] = true, true
	}
	if !names[registry.DefaultPool] {
		return fmt.Errorf("pools: none is called %q, which has the nodes without tags", registry.DefaultPool)
	}
	return nil
}

// poolName has no comma: tags list pools with commas between them.
var poolName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func (c HAProxyConfig) checkSockets() error {
	if len(c.AdminSockets) == 0 {
		return errors.New("haproxy.admin_sockets: must name at least one socket")
	}
	for i, socket := range c.AdminSockets {
		if err := checkPath("haproxy.admin_sockets", socket); err != nil {
			return err
		}
		if slices.Contains(c.AdminSockets[:i], socket) {
			return fmt.Errorf("haproxy.admin_sockets: %q is there twice", socket)
		}
	}
	return nil
}

// hostName has no slash: the host's report in Consul is called by it.
var hostName = regexp.MustCompile(`^[A-Za-z0-9._-]*$`)

func checkHost(name string) error {
	if !hostName.MatchString(name) {
		return fmt.Errorf("host: %q is not a name of letters, digits, '.', '_' and '-'", name)
	}
	return nil
}

func checkAddresses(all []string) error {
	for _, text := range all {
		if _, err := netip.ParseAddr(text); err != nil {
			return fmt.Errorf("addresses: %q is not an IP address", text)
		}
	}
	return nil
}

func checkNodesFile(path string) error {
	if path == "" {
		return nil
	}
	return checkPath("nodes_file", path)
}

// checkFile accepts the path of a file that commands name, or none.
func checkFile(key, path string) error {
	if path == "" {
		return nil
	}
	if _, err := haproxy.NewPath(path); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

func checkPercent(key string, n, least int) error {
	if n < least || n > 100 {
		return fmt.Errorf("%s: %d is not between %d and 100", key, n, least)
	}
	return nil
}

func checkReturnDelay(d time.Duration) error {
	if d < 0 || d > time.Hour {
		return fmt.Errorf("return_delay: %s is not between 0s and 1h (write it as 500ms or 10s)", d)
	}
	return nil
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fmt.Errorf("consul.address: %q is not a URL such as http://127.0.0.1:8500", s)
	}
	return nil
}

func checkSet(key, s string) error {
	if strings.TrimSpace(s) == "" {
		return fmt.Errorf("%s: must not be empty", key)
	}
	return nil
}

func checkPath(key, s string) error {
	if !filepath.IsAbs(s) {
		return fmt.Errorf("%s: %q is not an absolute path", key, s)
	}
	return nil
}

func checkDuration(key string, d time.Duration) error {
	if d < time.Second {
		return fmt.Errorf("%s: %s is shorter than 1s (write it as 30s or 5m)", key, d)
	}
	return nil
}

func checkLoopback(s string) error {
	host, _, err := net.SplitHostPort(s)
	if err == nil {
		if ip, perr := netip.ParseAddr(host); perr == nil && ip.IsLoopback() {
			return nil
		}
	}
	return fmt.Errorf("listen: %q is not a loopback address and port such as 127.0.0.1:9294", s)
}

func checkLevel(s string) error {
	if hclog.LevelFromString(s) == hclog.NoLevel {
		return fmt.Errorf("log_level: %q is not trace, debug, info, warn or error", s)
	}
	return nil
}

// options are those of the mirror of the HAProxy at socket. The values were checked before.
func (c Config) options(socket string) (mirror.Options, error) {
	opts := mirror.Options{
		Socket: socket, SlotOverflow: c.HAProxy.SlotOverflow, WarningPercent: c.WarningPercent, GuardPercent: c.GuardPercent,
		MaxEjectedPercent: c.MaxEjectedPercent,
		ReturnDelay:       c.ReturnDelay, DrainTimeout: c.DrainTimeout, ResyncInterval: c.ResyncInterval,
	}
	var err error
	if opts.CAFile, err = file(c.HAProxy.CAFile); err != nil {
		return opts, err
	}
	for _, p := range c.Pools {
		one := mirror.Pool{Name: p.Name, MaxConn: p.MaxConn}
		if one.Backend, err = haproxy.NewBackendName(p.Backend); err != nil {
			return opts, err
		}
		if one.SNIMap, err = file(p.SNIMap); err != nil {
			return opts, err
		}
		opts.Pools = append(opts.Pools, one)
	}
	return opts, nil
}

// file is the path of a file that commands name; the zero value for none.
func file(path string) (haproxy.Path, error) {
	if path == "" {
		return haproxy.Path{}, nil
	}
	return haproxy.NewPath(path)
}

// RegistryOptions say what is queried in Consul, and what a node may be.
func (c Config) RegistryOptions() registry.Options {
	opts := registry.Options{
		Address: c.Consul.Address, TokenFile: c.Consul.TokenFile, Service: c.Service, OwnPort: c.HAProxy.FrontendPort,
	}
	for _, p := range c.Pools {
		opts.Pools = append(opts.Pools, p.Name)
	}
	return opts
}
