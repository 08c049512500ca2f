package handler

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.yaml.in/yaml/v3"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/runtime"
)

// DefaultConfigPath is where the playbook puts the configuration.
const DefaultConfigPath = "/etc/iri-lb-handler/config.yml"

// Config is the handler's configuration file.
type Config struct {
	Consul  ConsulConfig  `yaml:"consul"`
	Service string        `yaml:"service"`
	HAProxy HAProxyConfig `yaml:"haproxy"`
	Pools   PoolsConfig   `yaml:"pools"`
	// WarningPercent is the share of its weight that a node in Consul's warning
	// state keeps, 1 to 100.
	WarningPercent int `yaml:"warning_percent"`
	// GuardPercent: an answer of Consul that takes more than this share of the
	// serving nodes out, and at least three, is asked for again. 0: it is not.
	GuardPercent int `yaml:"guard_percent"`
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

// ConsulConfig says which agent to ask.
type ConsulConfig struct {
	Address   string `yaml:"address"`
	TokenFile string `yaml:"token_file"`
}

// HAProxyConfig says how to reach HAProxy.
type HAProxyConfig struct {
	// AdminSockets are the stats sockets of all HAProxy processes to keep in line.
	// The reload is that of the first.
	AdminSockets []string `yaml:"admin_sockets"`
	MasterSocket string   `yaml:"master_socket"`
	StateFile    string   `yaml:"state_file"`
	// SlotOverflow: nodes that find no slot get a server that is added at runtime.
	SlotOverflow bool `yaml:"slot_overflow"`
	// CAFile verifies the nodes behind such servers, as HAProxy sees the path.
	CAFile string `yaml:"ca_file"`
	// Certificate is the file that HAProxy reads its own certificate and key from.
	// HAProxy knows them by this path.
	Certificate string `yaml:"certificate"`
}

// PoolsConfig has the two pools.
type PoolsConfig struct {
	Default PoolConfig `yaml:"default"`
	PoW     PoolConfig `yaml:"pow"`
}

// PoolConfig is one backend of HAProxy.
type PoolConfig struct {
	Backend string `yaml:"backend"`
	// SNIMap is the map file of the backend's server-templates that gives a slot
	// the name for TLS; "" when they have none.
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
			Certificate:  "/etc/haproxy/ssl/certkey.pem",
		},
		Pools: PoolsConfig{
			Default: PoolConfig{Backend: "iri_back"},
			PoW:     PoolConfig{Backend: "iri_pow_back", MaxConn: 1},
		},
		WarningPercent: 25,
		GuardPercent:   50,
		DrainTimeout:   60 * time.Second,
		ResyncInterval: 30 * time.Second,
		Listen:         "127.0.0.1:9294",
		LogLevel:       "info",
	}
}

// LoadConfig reads the file and checks every value. Errors name the file and
// the key.
func LoadConfig(path string) (Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	defer func() { _ = f.Close() }()
	cfg := DefaultConfig()
	dec := yaml.NewDecoder(f)
	dec.KnownFields(true)
	if err := dec.Decode(&cfg); err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", path, err)
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
		checkMap("haproxy.ca_file", c.HAProxy.CAFile),
		checkSet("haproxy.certificate", c.HAProxy.Certificate),
		checkMap("haproxy.certificate", c.HAProxy.Certificate),
		c.checkPools(),
		checkPercent("warning_percent", c.WarningPercent, 1),
		checkPercent("guard_percent", c.GuardPercent, 0),
		checkReturnDelay(c.ReturnDelay),
		checkDuration("drain_timeout", c.DrainTimeout),
		checkDuration("resync_interval", c.ResyncInterval),
		checkLoopback(c.Listen),
		checkLevel(c.LogLevel),
	)
}

func (c Config) checkPools() error {
	for key, p := range map[string]PoolConfig{"pools.default": c.Pools.Default, "pools.pow": c.Pools.PoW} {
		if _, err := runtime.NewSlotID(p.Backend, "x"); err != nil {
			return fmt.Errorf("%s.backend: %w", key, err)
		}
		if err := checkMap(key+".sni_map", p.SNIMap); err != nil {
			return err
		}
		if p.MaxConn < 0 || p.MaxConn > runtime.MaxMaxConn {
			return fmt.Errorf("%s.maxconn: %d is not between 0 and %d", key, p.MaxConn, runtime.MaxMaxConn)
		}
	}
	if c.Pools.Default.Backend == c.Pools.PoW.Backend {
		return fmt.Errorf("pools.pow.backend: %q is the default pool's backend too", c.Pools.PoW.Backend)
	}
	return nil
}

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

// checkMap: the path of a file that commands name, or none.
func checkMap(key, path string) error {
	if path == "" {
		return nil
	}
	if _, err := runtime.NewMapFile(path); err != nil {
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
