package mirror

import (
	"slices"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

// Pool is a set of nodes that one backend of HAProxy serves.
type Pool struct {
	Name    string
	Backend haproxy.BackendName
	// SNIMap is the map of the backend's server-templates that gives a slot its name for TLS; the zero value where they
	// have none.
	SNIMap haproxy.Path
	// MaxConn is for nodes that set no limit of their own; 0 means none.
	MaxConn int
}

// members are the pool's nodes, with the limit that they set for it, or else the pool's, and with their share in the warning state.
func (p Pool) members(all []registry.Node, warningPercent int) []pool.Node {
	var nodes []pool.Node
	for _, n := range all {
		if !slices.Contains(n.Pools, p.Name) {
			continue
		}
		node := n.Node
		switch {
		case p.Name == registry.PoWPool && n.MaxConnPoWSet:
			node.MaxConn = n.MaxConnPoW
		case !n.MaxConnSet:
			node.MaxConn = p.MaxConn
		}
		nodes = append(nodes, node)
	}
	return pool.Shares(nodes, warningPercent)
}
