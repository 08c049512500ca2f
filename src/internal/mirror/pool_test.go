package mirror

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

func TestALimitForProofOfWorkHoldsInThatPoolAlone(t *testing.T) {
	limits := func(all, pow int) func(*registry.Node) {
		return func(n *registry.Node) {
			n.MaxConn, n.MaxConnSet, n.MaxConnPoW, n.MaxConnPoWSet = all, all >= 0, pow, pow >= 0
			n.Pools = []string{"default", "pow", "archive"}
		}
	}
	for name, test := range map[string]struct {
		node registry.Node
		want [3]int
	}{
		"none":             {node("10.0.0.1", limits(-1, -1)), [3]int{9, 1, 5}},
		"everywhere":       {node("10.0.0.1", limits(50, -1)), [3]int{50, 50, 50}},
		"proof of work":    {node("10.0.0.1", limits(-1, 3)), [3]int{9, 3, 5}},
		"both":             {node("10.0.0.1", limits(50, 3)), [3]int{50, 3, 50}},
		"no limit for PoW": {node("10.0.0.1", limits(50, 0)), [3]int{50, 0, 50}},
	} {
		var got [3]int
		for i, p := range []Pool{{Name: "default", MaxConn: 9}, {Name: "pow", MaxConn: 1}, {Name: "archive", MaxConn: 5}} {
			got[i] = p.members([]registry.Node{test.node}, 25)[0].MaxConn
		}
		assert.Equal(t, test.want, got, name)
	}
}
