package pool

import (
	"slices"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
)

// Shares returns the nodes with the weights that HAProxy is to have: the reduced ones get percent of theirs (1 to 100), and
// never less than 1. Where whole numbers are too coarse for that share, all weights are multiplied, which changes no other
// node's share. A weight of 0 stays 0.
func Shares(nodes []Node, percent int) []Node {
	scale, most := 1, 1
	for _, n := range nodes {
		most = max(most, n.Weight)
		if n.Reduced && n.Weight*percent < 100 {
			scale = (99 + percent) / percent
		}
	}
	scale = max(1, min(scale, haproxy.MaxWeight/most))
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
