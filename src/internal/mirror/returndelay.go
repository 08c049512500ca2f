package mirror

import (
	"net/netip"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
)

// returnDelay knows since when the nodes of each pool have been healthy without a break. Nodes that are healthy on the first
// read incur no return delay.
type returnDelay map[string]map[netip.AddrPort]time.Time

// hold leaves nodes as they are that became healthy less than delay ago and are not in service. It returns true when there
// are any.
func (r returnDelay) hold(
	poolName string, nodes []pool.Node, b pool.Backend, delay time.Duration, now time.Time,
) (held []pool.Node, waiting bool) {
	if delay == 0 {
		return nodes, false
	}
	before, known := r[poolName]
	healthy := map[netip.AddrPort]time.Time{}
	serving := map[netip.AddrPort]bool{}
	for _, slot := range b.Slots {
		serving[slot.Addr] = serving[slot.Addr] || slot.State == haproxy.Ready
	}
	held = make([]pool.Node, 0, len(nodes))
	for _, n := range nodes {
		if n.Health.Serves() {
			since, ok := before[n.Addr]
			if !ok && known {
				since = now
			}
			healthy[n.Addr] = since
			if !serving[n.Addr] && now.Sub(since) < delay {
				n.Health, n.Returning = pool.Unchecked, true
				waiting = true
			}
		}
		held = append(held, n)
	}
	r[poolName] = healthy
	return held, waiting
}
