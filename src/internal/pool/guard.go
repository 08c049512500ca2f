package pool

import (
	"net/netip"
	"slices"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
)

// guardAtLeast is how many nodes must be about to leave before the guard acts: a small pool may lose most of its nodes by an
// ordinary failure.
const guardAtLeast = 3

// Lost lists the nodes that would leave service: failing, in maintenance or no longer registered. serving is how many are in
// service.
func Lost(nodes []Node, b Backend) (lost []netip.AddrPort, serving int) {
	stays := make(map[netip.AddrPort]bool, len(nodes))
	for _, n := range nodes {
		stays[n.Addr] = stays[n.Addr] || n.Health.StaysInService()
	}
	for _, s := range b.Slots {
		if s.State != haproxy.Ready || s.Addr == Placeholder {
			continue
		}
		serving++
		if !stays[s.Addr] {
			lost = append(lost, s.Addr)
		}
	}
	return lost, serving
}

// Suspicious reports whether the nodes would take more than percent of those in service out at once, and at least three. 0
// percent switches it off.
func Suspicious(nodes []Node, b Backend, percent int) bool {
	lost, serving := Lost(nodes, b)
	return percent > 0 && len(lost) >= guardAtLeast && len(lost)*100 > serving*percent
}

// Keep returns the nodes with those that Lost lists marked as unchecked, so that they stay as they are.
func Keep(nodes []Node, b Backend) []Node {
	lost, _ := Lost(nodes, b)
	leaving := map[netip.AddrPort]bool{}
	for _, addr := range lost {
		leaving[addr] = true
	}
	kept := slices.Clone(nodes)
	for i := range kept {
		if leaving[kept[i].Addr] {
			kept[i].Health = Unchecked
		}
	}
	return KeepUnlisted(kept, b)
}

// KeepUnlisted adds the nodes that are in service and not among the given ones, to be left as they are.
func KeepUnlisted(nodes []Node, b Backend) []Node {
	listed := map[netip.AddrPort]bool{}
	for _, n := range nodes {
		listed[n.Addr] = true
	}
	kept := slices.Clone(nodes)
	for _, s := range b.Slots {
		if s.State == haproxy.Ready && s.Addr != Placeholder && !listed[s.Addr] {
			listed[s.Addr] = true
			kept = append(kept, Node{ID: s.Addr.String(), Addr: s.Addr, TLS: s.TLS, Health: Unchecked, Weight: s.Weight, MaxConn: s.MaxConn})
		}
	}
	return kept
}
