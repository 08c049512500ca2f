package pool

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/runtime"
)

// TLS is how HAProxy talks to a node. It is a property of the slot, fixed in
// HAProxy's configuration, so a node can only be in a slot of its own kind.
type TLS int

// The three kinds of slot.
const (
	Plain      TLS = iota // http
	Verified              // https, the node's certificate is verified
	Unverified            // https, any certificate will do
)

// Prefix is the name of the server-template whose slots are of this kind: the
// slots are called "http1", "https1", "https-noverify1" and so on.
func (t TLS) Prefix() string {
	return [...]string{Plain: "http", Verified: "https", Unverified: "https-noverify"}[t]
}

// Health is what the registry knows about a node. Greater is worse.
type Health int

// The states of a node.
const (
	Passing Health = iota
	Warning
	// Unchecked: the node is registered and no check of it has run yet. After a
	// restart of Consul that is every node's state, so it says nothing: a node
	// in service stays, a new one waits for its first result.
	Unchecked
	// Maintenance: an operator wants it out, gently.
	Maintenance
	Critical
)

var healthNames = [...]string{"passing", "warning", "unchecked", "maintenance", "critical"}

func (h Health) String() string { return healthNames[h] }

// Node is a registered node as one pool sees it.
type Node struct {
	// ID is how people know it: the service ID.
	ID     string
	Addr   netip.AddrPort
	TLS    TLS
	Health Health
	// Weight is its share of the traffic, 0 to 256.
	Weight int
	// Reduced: the node is in the warning state, and Weight is what it has
	// otherwise.
	Reduced bool
	// MaxConn is how many connections it takes at once, 0 for no limit.
	MaxConn int
	// SNI is the name that its certificate must have; the zero value is none.
	SNI runtime.Hostname
}

// one returns one node for each address and kind, sorted, so that an address
// that is registered under several IDs takes one slot. The healthiest
// registration speaks for it, then the first by ID.
func one(nodes []Node) []Node {
	sorted := slices.Clone(nodes)
	slices.SortFunc(sorted, func(a, b Node) int {
		if c := a.Addr.Compare(b.Addr); c != 0 {
			return c
		}
		if c := int(a.Health) - int(b.Health); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return slices.CompactFunc(sorted, func(a, b Node) bool { return a.Addr == b.Addr })
}

// Shares returns the nodes with the weights that HAProxy is to have: the reduced
// ones get percent of theirs (1 to 100), and never less than 1. Where whole
// numbers are too coarse for that share, the weights of all are multiplied, which
// changes nobody else's share. A weight of 0 stays 0.
func Shares(nodes []Node, percent int) []Node {
	scale, most := 1, 1
	for _, n := range nodes {
		most = max(most, n.Weight)
		if n.Reduced && n.Weight*percent < 100 {
			scale = (99 + percent) / percent
		}
	}
	scale = max(1, min(scale, runtime.MaxWeight/most))
	shared := slices.Clone(nodes)
	for i := range shared {
		n := &shared[i]
		if n.Weight == 0 {
			continue
		}
		n.Weight *= scale
		if n.Reduced {
			n.Weight = max(1, (n.Weight*percent+50)/100)
		}
	}
	return shared
}
