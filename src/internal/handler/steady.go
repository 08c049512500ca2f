package handler

import (
	"net/netip"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/runtime"
)

// steady knows since when the nodes of each pool have been healthy without a
// break. What is healthy at the first look has always been.
type steady map[string]map[netip.AddrPort]time.Time

// hold leaves nodes as they are that have come back less than delay ago and are
// not in service. It returns true when there are any.
func (s steady) hold(name string, nodes []pool.Node, b pool.Backend, delay time.Duration) ([]pool.Node, bool) {
	if delay == 0 {
		return nodes, false
	}
	before, known := s[name]
	now := map[netip.AddrPort]time.Time{}
	serving := map[netip.AddrPort]bool{}
	for _, slot := range b.Slots {
		serving[slot.Addr] = serving[slot.Addr] || slot.State == runtime.Ready
	}
	held := make([]pool.Node, 0, len(nodes))
	waiting := false
	for _, n := range nodes {
		if n.Health <= pool.Warning {
			since, ok := before[n.Addr]
			if !ok && known {
				since = time.Now()
			}
			now[n.Addr] = since
			if !serving[n.Addr] && time.Since(since) < delay {
				n.Health = pool.Unchecked
				waiting = true
			}
		}
		held = append(held, n)
	}
	s[name] = now
	return held, waiting
}
