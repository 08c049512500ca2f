package resident

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"
	"github.com/hashicorp/go-hclog"
	"github.com/jonboulle/clockwork"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/sleep"
)

const (
	defaultGracePeriod = 2 * time.Second

	minBackoff = time.Second
	maxBackoff = 30 * time.Second
	// minQueryInterval limits the rate of queries while the catalog changes all the time.
	minQueryInterval = 100 * time.Millisecond
)

// Registry is the source of the catalog; *registry.Client implements it.
type Registry interface {
	Fetch(ctx context.Context, index uint64) (registry.Snapshot, error)
}

// Catalog is the set of addresses that are registered in Consul. While Consul does not respond it keeps the last
// known set.
type Catalog struct {
	registry Registry
	log      hclog.Logger
	clock    clockwork.Clock
	// file keeps the addresses across restarts, "" for none. When this program and Consul start at the same time,
	// Consul's first checks arrive before it responds to queries.
	file string
	// gracePeriod is how long Require waits for an address to become registered: Consul may run the first check of a
	// service before its catalog contains the service.
	gracePeriod time.Duration

	mu sync.Mutex
	// registered is nil until the addresses are known.
	registered map[netip.AddrPort]bool
	// changed is closed at the next change.
	changed chan struct{}
	// lastError is the error of the last query, "" if it succeeded.
	lastError string
}

// NewCatalog returns a catalog with the addresses of the file. The file may be missing, and "" stands for none.
func NewCatalog(reg Registry, file string, log hclog.Logger) *Catalog {
	c := &Catalog{registry: reg, log: log, clock: clockwork.NewRealClock(), file: file, gracePeriod: defaultGracePeriod, changed: make(chan struct{})}
	c.load()
	return c
}

// Run keeps the catalog up to date until ctx ends.
func (c *Catalog) Run(ctx context.Context) {
	var index uint64
	pause := registry.NewBackoff(minBackoff, maxBackoff)
	for ctx.Err() == nil {
		snap, err := c.registry.Fetch(ctx, index)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			c.recordError(err)
			index = 0
			sleep.Context(ctx, c.clock, pause.NextBackOff())
			continue
		}
		pause.Reset()
		if snap.Index != index || c.inError() {
			c.update(snap.Nodes)
		}
		// An index that goes backwards means that Consul has lost data: start again from 0 (Consul's documentation,
		// "Blocking Queries").
		if snap.Index < index {
			snap.Index = 0
		}
		index = snap.Index
		sleep.Context(ctx, c.clock, minQueryInterval)
	}
}

// update replaces the registered addresses.
func (c *Catalog) update(nodes []registry.Node) {
	registered := make(map[netip.AddrPort]bool, len(nodes))
	for _, node := range nodes {
		if node.Host.String() == "" { // a name could resolve to any address
			registered[node.Addr] = true
		}
	}
	c.mu.Lock()
	recovered := c.lastError != ""
	c.lastError = ""
	same := c.registered != nil && maps.Equal(registered, c.registered)
	if !same {
		c.registered = registered
		close(c.changed)
		c.changed = make(chan struct{})
	}
	c.mu.Unlock()
	if recovered {
		c.log.Info("Consul responds again")
	}
	if !same {
		c.log.Info("the registered addresses have changed", "addresses", len(registered))
		c.save(registered)
	}
}

// recordError logs each error once.
func (c *Catalog) recordError(err error) {
	c.mu.Lock()
	isNew := c.lastError != err.Error()
	c.lastError = err.Error()
	c.mu.Unlock()
	if isNew {
		c.log.Warn("cannot read the registered addresses from Consul, keeping the last known ones", "error", err)
	}
}

func (c *Catalog) inError() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastError != ""
}

// errNotReady is returned until the registered addresses are known.
var errNotReady = errors.New("the registered nodes are not known yet because Consul has not responded; see journalctl -u iri-node-check")

// Require returns nil if the address is registered or becomes so within the grace period, and an error otherwise.
func (c *Catalog) Require(ctx context.Context, addr netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, c.gracePeriod)
	defer cancel()
	for {
		c.mu.Lock()
		registered, changed := c.registered, c.changed
		c.mu.Unlock()
		if registered[addr] {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if registered == nil {
				return errNotReady
			}
			return fmt.Errorf("%s is not registered in Consul as the address and port of a node", addr)
		}
	}
}

// ready returns errNotReady until the registered addresses are known.
func (c *Catalog) ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.registered == nil {
		return errNotReady
	}
	return nil
}

// load reads the file, which has one address per line.
func (c *Catalog) load() {
	if c.file == "" {
		return
	}
	text, err := os.ReadFile(c.file)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.log.Warn("cannot read the saved addresses", "error", err)
		}
		return
	}
	registered := map[netip.AddrPort]bool{}
	for line := range strings.Lines(string(text)) {
		addr, err := netip.ParseAddrPort(strings.TrimSpace(line))
		if err != nil {
			c.log.Warn("ignoring the saved addresses because a line is invalid", "file", c.file, "error", err)
			return
		}
		registered[addr] = true
	}
	c.registered = registered
}

// save replaces the file atomically. Errors are only logged, since the file is needed only at a start without Consul.
func (c *Catalog) save(registered map[netip.AddrPort]bool) {
	if c.file == "" {
		return
	}
	lines := make([]string, 0, len(registered))
	for addr := range registered {
		lines = append(lines, addr.String()+"\n")
	}
	slices.Sort(lines)
	text := []byte(strings.Join(lines, ""))
	if err := renameio.WriteFile(c.file, text, 0o600, renameio.WithTempDir(filepath.Dir(c.file))); err != nil {
		c.log.Warn("cannot save the registered addresses for the next start", "error", err)
	}
}
