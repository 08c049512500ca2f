package pool

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
)

// TLS is how HAProxy talks to a node. It is a property of the slot, fixed in HAProxy's configuration, so a node can only be
// in a slot of its own kind.
type TLS int

// The three kinds of slot.
const (
	Plain      TLS = iota // http
	Verified              // https, the node's certificate is verified
	Unverified            // https, any certificate will do
)

// Prefix is the name of the server-template whose slots are of this kind: the slots are called "http1", "https1",
// "https-noverify1" and so on.
func (t TLS) Prefix() string {
	return [...]string{Plain: "http", Verified: "https", Unverified: "https-noverify"}[t]
}

// Health is what the registry knows about a node. A greater value is worse.
type Health int

// The states of a node.
const (
	Passing Health = iota
	Warning
	// Unchecked is a registered node whose checks have not run yet. After a restart of Consul that is every node's
	// state, so it says nothing: a node in service stays, a new one waits for its first result.
	Unchecked
	// Maintenance is a node that an operator wants out, gently.
	Maintenance
	Critical
)

var healthNames = [...]string{"passing", "warning", "unchecked", "maintenance", "critical"}

func (h Health) String() string { return healthNames[h] }

// Serves reports whether a node in this state is to be sent requests.
func (h Health) Serves() bool { return h <= Warning }

// StaysInService reports whether a node in this state is left in service where it is.
func (h Health) StaysInService() bool { return h <= Unchecked }

// Node is a registered node as one pool sees it.
type Node struct {
	// ID is the service ID, by which people know the node.
	ID     string
	Addr   netip.AddrPort
	TLS    TLS
	Health Health
	// Weight is its share of the traffic, 0 to 256.
	Weight int
	// Reduced is set in the warning state, when Weight is still the node's ordinary weight: see Shares.
	Reduced bool
	// Returning is set for a healthy node that comes into service after its return delay; its Health is Unchecked until then.
	Returning bool
	// MaxConn is how many connections it takes at once, 0 for no limit.
	MaxConn int
	// SNI is the name that its certificate must have; the zero value is none.
	SNI haproxy.Hostname
}

// byAddress returns one node for each address, sorted, so that an address that is registered under several IDs takes one
// slot. The healthiest registration counts, then the first by ID.
func byAddress(nodes []Node) []Node {
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
