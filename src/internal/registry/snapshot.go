package registry

import (
	"slices"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/nodecheck"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
)

// The pools that the tag haproxy.pow speaks of. Every node is in the default pool unless its tags say otherwise.
const (
	DefaultPool = "default"
	PoWPool     = "pow"
)

// Node is a registered node: how a pool sees it, and which pools it is in.
type Node struct {
	pool.Node
	// Host is the name whose address is still to be found; the zero value where Consul has an IP address. Addr then holds
	// the port only.
	Host haproxy.Hostname
	// Pools are the names of the pools that the node is in.
	Pools []string
	// FirstCheckWithin is how long a check may take until its first result, without the result's way here; 0 where all have
	// one, or where none is to be expected. A check that is critical without output for longer has failed.
	FirstCheckWithin time.Duration
	// New is set for a node that Consul's agent checks, that was registered while this program was watching, and whose check
	// has not run yet. This host's own check may let it in until Consul has a result.
	New bool
	// MaxConnSet is false where the pool's default limit holds.
	MaxConnSet bool
	// MaxConnPoW is how many connections the node takes at once in the pool pow; MaxConnPoWSet is false where what holds in all
	// pools holds there, too.
	MaxConnPoW    int
	MaxConnPoWSet bool
	// Agent is the Consul agent that the node is registered at, "" for the catalog.
	Agent string
	// Check is how this host checks the node itself; nil where Consul's agent does.
	Check *Check
}

// Check is the health check of a node that is registered in the catalog.
type Check struct {
	// Options are what is required of the node, as nodecheck.ParseOptions reads them.
	Options  string
	Interval time.Duration
	// Passing and Warning are the node's share by the verdict.
	Passing, Warning Share
}

// Share is how much of the traffic a node gets in one state.
type Share struct {
	Weight  int
	Reduced bool
}

// InCatalog is where a node is registered that has no agent.
const InCatalog = "catalog"

// Registered is where the node is registered: the name of an agent, or InCatalog.
func (n Node) Registered() string {
	if n.Check != nil {
		return InCatalog
	}
	return n.Agent
}

// Judge adds this host's own verdict to what Consul says of the node. The worse of the two counts.
func (n *Node) Judge(own pool.Health) {
	n.Health = max(n.Health, own)
	share := n.Check.Passing
	if n.Health == pool.Warning {
		share = n.Check.Warning
	}
	n.Weight, n.Reduced = share.Weight, share.Reduced
}

// CheckOptions are what is required of the node when this host checks it. For a node at an agent, which does not tell what its
// own check requires, they are those of the registration in the README.
func (n Node) CheckOptions() string {
	switch {
	case n.Check != nil:
		return n.Check.Options
	case slices.Contains(n.Pools, PoWPool):
		return "skip-limited=true&pow=true"
	}
	return "skip-limited=true"
}

// Request is how this host checks the node: at the address that HAProxy uses, and with TLS as HAProxy does.
func (n Node) Request() (nodecheck.Request, error) {
	r, err := nodecheck.ParseOptions(n.CheckOptions())
	if n.TLS == pool.Plain {
		r.Address = "http://" + n.Addr.String()
		return r, err
	}
	r.Address = "https://" + n.Addr.String()
	r.SkipVerify = r.SkipVerify || n.TLS == pool.Unverified
	if r.ServerName == "" {
		r.ServerName = n.SNI.String()
	}
	return r, err
}

// Snapshot is what Consul and DNS say at one time.
type Snapshot struct {
	// Index is Consul's index of the answer.
	Index uint64
	Nodes []Node
	// Problems say what was skipped or replaced by a default, and why.
	Problems []Problem
	// FromDisk is set for the list that was kept for a start without Consul. It adds nodes, and removes none.
	FromDisk bool
	// Seen is when Consul's answer arrived.
	Seen time.Time
	// Complete is false while a host name may still get its first address: a node in service may be the one that the name
	// stands for.
	Complete bool
	// Epoch counts how often Consul may have lost data: it was away, or its index went back.
	Epoch int
}

// Problem is one thing in the registry that could not be used.
type Problem struct {
	// Service is the ID of the service as Consul has it.
	Service string
	// Node is the Consul node that the service is registered at.
	Node string
	// Field is the tag, Meta key or property with the problem.
	Field string
	// Reason says what is wrong and what happens now.
	Reason string
	// Wrong is the reason's first half, for somebody who is about to register the service.
	Wrong string
}
