package mirror

import (
	"fmt"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

const (
	// confirmTimeout bounds the guard's query: other changes wait for it.
	confirmTimeout = 3 * time.Second
	// confirmInterval is how often a snapshot that is not confirmed is confirmed again.
	confirmInterval = 2 * time.Second
)

// guard doubts a snapshot that would take most nodes out of service at once. It is a value: decide changes nothing, and what
// is to be remembered is returned as the next guard.
type guard struct {
	opts Options
	// confirmed is when the snapshot arrived that Consul has confirmed.
	confirmed time.Time
	// epoch is the last one after which most nodes were seen again.
	epoch int
	// tried is when a confirmation was tried last.
	tried time.Time
	// holding says why nodes are kept in service that Consul would have out, "" when none are.
	holding string
}

// decision is what to do with a snapshot.
type decision struct {
	// nodes are what each pool is to have.
	nodes [][]pool.Node
	// confirm asks for Consul's confirmation before anything else is done.
	confirm bool
	// undecided is set while the snapshot is neither confirmed nor refuted: it is to be decided again soon.
	undecided bool
	// next is the guard after this decision was carried out.
	next guard
}

// lostData: nobody can deregister a node at a Consul that is away. When most nodes are missing as soon as it is back, it is
// Consul that has lost them.
const lostData = "Consul was away, or its index went back, and it no longer lists most of them; register them again, " +
	"or restart iri-lb-handler to accept what Consul says"

// decide says what each pool should have. A snapshot that would take most nodes out of service has to be confirmed; until
// it is, those nodes stay.
func (g guard) decide(snap registry.Snapshot, views []view, now time.Time) decision {
	d := decision{nodes: g.members(snap), next: g}
	d.next.holding = ""
	if snap.FromDisk {
		d.nodes = keepUnlisted(d.nodes, views)
		return d
	}
	if !g.suspicious(d.nodes, views) {
		d.next.epoch = snap.Epoch
		if !snap.Complete {
			// One of those that serve may be what a name stands for.
			d.nodes = keepUnlisted(d.nodes, views)
		}
		return d
	}
	lost := g.epoch != snap.Epoch
	if lost {
		d.nodes = keepUnlisted(d.nodes, views)
		d.next.holding = lostData
	}
	if !g.suspicious(d.nodes, views) || g.confirmed.Equal(snap.Seen) {
		if !snap.Complete {
			d.nodes = keepUnlisted(d.nodes, views)
		}
		return d
	}
	if g.holding == "" || g.holding == lostData || now.Sub(g.tried) >= confirmInterval {
		d.confirm = true
	} else {
		d.next.holding = g.holding
	}
	d.undecided = true
	for i, v := range views {
		d.nodes[i] = pool.Keep(d.nodes[i], v.Backend)
	}
	return d
}

// answered is the guard after a confirmation was tried: with the snapshot that Consul gave, or an error.
func (g guard) answered(second registry.Snapshot, err error, now time.Time) guard {
	g.tried = now
	if err != nil {
		g.holding = fmt.Sprintf("Consul does not confirm it: %v", err)
		return g
	}
	g.confirmed = second.Seen
	return g
}

// members are the nodes of each pool.
func (g guard) members(snap registry.Snapshot) [][]pool.Node {
	all := make([][]pool.Node, 0, len(g.opts.Pools))
	for _, p := range g.opts.Pools {
		all = append(all, p.members(snap.Nodes, g.opts.WarningPercent))
	}
	return all
}

func (g guard) suspicious(nodes [][]pool.Node, views []view) bool {
	for i, v := range views {
		if pool.Suspicious(nodes[i], v.Backend, g.opts.GuardPercent) {
			return true
		}
	}
	return false
}

func keepUnlisted(nodes [][]pool.Node, views []view) [][]pool.Node {
	kept := make([][]pool.Node, 0, len(nodes))
	for i, v := range views {
		kept = append(kept, pool.KeepUnlisted(nodes[i], v.Backend))
	}
	return kept
}
