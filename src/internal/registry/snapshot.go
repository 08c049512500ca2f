package registry

import (
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
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
	// FirstCheckWithin is how long a check may take until its first result; 0 where all have one. A check that is critical
	// without output for longer has failed.
	FirstCheckWithin time.Duration
	// MaxConnSet is false where the pool's default limit holds.
	MaxConnSet bool
}

// Snapshot is what Consul and DNS say at one time.
type Snapshot struct {
	// Index is Consul's index of the answer.
	Index uint64
	Nodes []Node
	// Problems say what was skipped or replaced by a default, and why.
	Problems []Problem
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
}
