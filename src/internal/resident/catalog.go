package resident

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

const (
	defaultPatience = 2 * time.Second

	minBackoff = time.Second
	maxBackoff = 30 * time.Second
	// newsGap bounds how often a busy Consul is asked.
	newsGap = 100 * time.Millisecond
)

// Registry is what the catalog is read from; *registry.Registry is one.
type Registry interface {
	Fetch(ctx context.Context, index uint64) (registry.Snapshot, error)
}

// Catalog knows which addresses are registered in Consul. While Consul does not
// answer it keeps what it knows.
type Catalog struct {
	registry Registry
	log      hclog.Logger
	// file keeps the addresses over a restart, "" for none: when both this
	// program and Consul start, Consul's first checks come before its answers.
	file string
	// patience is how long an address that is not registered may still become so.
	// Consul runs the first check of a service perhaps before its catalog has it.
	patience time.Duration

	mu sync.Mutex
	// known is nil until something is known.
	known map[netip.AddrPort]bool
	// changed is closed with the next change.
	changed chan struct{}
	// failure is why Consul's last answer could not be used, "" when it could.
	failure string
}

// NewCatalog starts with what is in the file, when it is not "" and there.
func NewCatalog(reg Registry, file string, log hclog.Logger) *Catalog {
	c := &Catalog{registry: reg, log: log, file: file, patience: defaultPatience, changed: make(chan struct{})}
	c.load()
	return c
}

// Run follows Consul until the context ends.
func (c *Catalog) Run(ctx context.Context) {
	var index uint64
	wait := minBackoff
	for ctx.Err() == nil {
		snap, err := c.registry.Fetch(ctx, index)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			c.failed(err)
			sleep(ctx, wait/2+rand.N(wait/2))
			wait, index = min(2*wait, maxBackoff), 0
			continue
		}
		wait = minBackoff
		if snap.Index != index || c.failing() != "" {
			c.learn(snap.Nodes)
		}
		// An index that went back means that Consul has lost its past: ask from
		// the beginning (Consul's documentation, "Blocking Queries").
		if snap.Index < index {
			snap.Index = 0
		}
		index = snap.Index
		sleep(ctx, newsGap)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// learn takes a whole answer over.
func (c *Catalog) learn(nodes []registry.Node) {
	known := make(map[netip.AddrPort]bool, len(nodes))
	for _, node := range nodes {
		if node.Host == (haproxy.Hostname{}) { // a name could stand for any address
			known[node.Addr] = true
		}
	}
	c.mu.Lock()
	recovered := c.failure != ""
	c.failure = ""
	same := c.known != nil && maps.Equal(known, c.known)
	if !same {
		c.known = known
		close(c.changed)
		c.changed = make(chan struct{})
	}
	c.mu.Unlock()
	if recovered {
		c.log.Info("Consul answers again")
	}
	if !same {
		c.log.Info("the registered addresses have changed", "addresses", len(known))
		c.save(known)
	}
}

func (c *Catalog) failed(err error) {
	c.mu.Lock()
	isNew := c.failure != err.Error()
	c.failure = err.Error()
	c.mu.Unlock()
	if isNew {
		c.log.Warn("Consul does not say which addresses are registered; those that are known stay", "error", err)
	}
}

func (c *Catalog) failing() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failure
}

// errUnknown is for the time before anything is known.
var errUnknown = errors.New("it is not known yet which nodes are registered: Consul has not answered; see journalctl -u iri-node-check")

// Require returns nil when the address is registered, or becomes so within some
// seconds.
func (c *Catalog) Require(ctx context.Context, addr netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	for {
		c.mu.Lock()
		known, changed := c.known, c.changed
		c.mu.Unlock()
		if known[addr] {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if known == nil {
				return errUnknown
			}
			return fmt.Errorf("%s is not registered in Consul as a node's address and port", addr)
		}
	}
}

// ready is an error until it is known which addresses are registered.
func (c *Catalog) ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		return errUnknown
	}
	return nil
}

// load reads one address a line.
func (c *Catalog) load() {
	if c.file == "" {
		return
	}
	text, err := os.ReadFile(c.file)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.log.Warn("the addresses of before cannot be read", "error", err)
		}
		return
	}
	known := map[netip.AddrPort]bool{}
	for line := range strings.Lines(string(text)) {
		addr, err := netip.ParseAddrPort(strings.TrimSpace(line))
		if err != nil {
			c.log.Warn("the addresses of before are not usable", "file", c.file, "error", err)
			return
		}
		known[addr] = true
	}
	c.known = known
}

// save replaces the file as a whole. Without it the program works on: only a
// start without Consul needs it.
func (c *Catalog) save(known map[netip.AddrPort]bool) {
	if c.file == "" {
		return
	}
	lines := make([]string, 0, len(known))
	for addr := range known {
		lines = append(lines, addr.String()+"\n")
	}
	slices.Sort(lines)
	fresh := filepath.Join(filepath.Dir(c.file), "."+filepath.Base(c.file)+".new")
	err := os.WriteFile(fresh, []byte(strings.Join(lines, "")), 0o600)
	if err == nil {
		err = os.Rename(fresh, c.file)
	}
	if err != nil {
		c.log.Warn("the registered addresses cannot be kept for the next start", "error", err)
	}
}
