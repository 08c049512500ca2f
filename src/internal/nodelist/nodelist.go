// Package nodelist keeps the last list of nodes and their verdicts in a file, for a start without Consul.
//
// The list only ever adds nodes: it may be old, and what is missing in it may have been registered since.
package nodelist

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/renameio/v2"
	"github.com/hashicorp/go-hclog"
	"github.com/jonboulle/clockwork"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/connstatus"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/sleep"
)

// writeInterval is the shortest time between two writes.
const writeInterval = time.Second

// List is the file. It is safe for concurrent use.
type List struct {
	path, service string
	log           hclog.Logger
	clock         clockwork.Clock
	// write replaces the file.
	write func(text []byte) error

	mu     sync.Mutex
	loaded bool
	// snap is what the file had when it was read; FromDisk is false when there was no file that could be used.
	snap registry.Snapshot
	// health is the last verdict of each node that is in the file, or is about to be.
	health  map[key]pool.Health
	pending *registry.Snapshot
	changed chan struct{}

	// written are the nodes as they are in the file, nil when that is not known; failed is the last error.
	written []byte
	failed  string
}

// key tells a node from another one that had its ID before.
type key struct {
	id   string
	addr netip.AddrPort
	// catalog nodes are checked by this host, whoever checks the others.
	catalog bool
}

func keyOf(n registry.Node) key { return key{n.ID, n.Addr, n.Check != nil} }

// remember notes a node's verdict. Of a node that is registered twice the better one counts: the list only adds nodes.
func remember(health map[key]pool.Health, n registry.Node) {
	if other, twice := health[keyOf(n)]; !twice || n.Health < other {
		health[keyOf(n)] = n.Health
	}
}

// New is the list in the file at path, "" for none. The file is not touched yet.
func New(path, service string, log hclog.Logger, clock clockwork.Clock) *List {
	l := &List{path: path, service: service, log: log, clock: clock, health: map[key]pool.Health{}, changed: make(chan struct{}, 1)}
	l.write = func(text []byte) error {
		return renameio.WriteFile(path, text, 0o600, renameio.WithTempDir(filepath.Dir(path)))
	}
	return l
}

// Load is the list as it was in the file when it was read first. It is false when there is none, or none that can be used.
func (l *List) Load() (registry.Snapshot, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.loaded && l.path != "" {
		snap, err := l.read()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.log.Error("the list of nodes on the disk cannot be used", "file", l.path, "error", err)
		}
		l.snap = snap
		for _, n := range snap.Nodes {
			remember(l.health, n)
		}
	}
	l.loaded = true
	return l.snap, l.snap.FromDisk
}

func (l *List) read() (registry.Snapshot, error) {
	text, err := os.ReadFile(l.path)
	if err != nil {
		return registry.Snapshot{}, err
	}
	return decode(text, l.service)
}

// Judge gives the nodes of the catalog their last verdict, for a process that checks no node itself. A bad one is old news
// and takes no node out. Without a list nobody checks them, and HAProxy's own checks decide.
func (l *List) Judge(nodes []registry.Node) {
	l.judge(nodes, func(h pool.Health) pool.Health {
		if !h.Serves() {
			return pool.Unchecked
		}
		return h
	})
}

// Show is Judge for people: a bad verdict is shown as it is.
func (l *List) Show(nodes []registry.Node) {
	l.judge(nodes, func(h pool.Health) pool.Health { return h })
}

func (l *List) judge(nodes []registry.Node, use func(pool.Health) pool.Health) {
	if _, ok := l.Load(); !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range nodes {
		if nodes[i].Check == nil {
			continue
		}
		last, known := l.health[keyOf(nodes[i])]
		if !known {
			last = pool.Unchecked
		}
		nodes[i].Judge(use(last))
	}
}

// Save hands over a list for Run to write. It never blocks. A list without the nodes whose names have no address yet is not
// worth keeping.
func (l *List) Save(snap registry.Snapshot) {
	if l.path == "" || !snap.Complete || snap.FromDisk {
		return
	}
	l.mu.Lock()
	l.pending = &snap
	l.mu.Unlock()
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// Run writes what Save hands over, until the context ends.
func (l *List) Run(ctx context.Context) {
	defer l.flush()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-l.changed:
		}
		l.flush()
		sleep.Context(ctx, l.clock, writeInterval)
	}
}

// flush writes the pending list, unless the file has it already. A file that cannot be written stays as it is.
func (l *List) flush() {
	l.mu.Lock()
	snap := l.pending
	l.pending = nil
	l.mu.Unlock()
	if snap == nil {
		return
	}
	nodes, err := json.Marshal(l.encode(snap.Nodes))
	if err == nil && bytes.Equal(nodes, l.written) {
		return
	}
	var text []byte
	if err == nil {
		text, err = json.Marshal(document{Format: format, Service: l.service, Index: snap.Index, Nodes: nodes})
	}
	if err == nil {
		err = l.write(append(text, '\n'))
	}
	if err == nil {
		l.written = nodes
	}
	l.note(err)
}

// encode also remembers each node's verdict. That a check has not run again since Consul's restart, or since the node was
// registered at another agent, is none, so the last one is kept.
func (l *List) encode(nodes []registry.Node) []node {
	l.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	now, all := make(map[key]pool.Health, len(nodes)), make([]node, 0, len(nodes))
	for _, n := range nodes {
		if last, known := l.health[keyOf(n)]; known && n.Health == pool.Unchecked {
			n.Health = last
		}
		remember(now, n)
		all = append(all, encodeNode(n))
	}
	l.health = now
	return all
}

// note logs an error once. The list is handed over again with the next reconciliation.
func (l *List) note(err error) {
	failed := ""
	if err != nil {
		failed = connstatus.WithoutDigits(err)
	}
	switch {
	case failed == l.failed:
	case failed == "":
		l.log.Info("the list of nodes is on the disk again", "file", l.path)
	default:
		l.log.Error("the list of nodes cannot be kept for a start without Consul; make room on the disk, or see whether iri-lb-handler may "+
			"write there", "file", l.path, "error", err)
	}
	l.failed = failed
}
