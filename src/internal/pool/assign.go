package pool

import (
	"cmp"
	"hash/fnv"
	"iter"
	"net/netip"
	"slices"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
)

// assignment says which node has which slot.
type assignment struct {
	of     map[netip.AddrPort]*Slot
	health map[netip.AddrPort]Health
	taken  map[haproxy.ServerID]bool
	// replaced are the nodes for which one slot of another kind stays in service until the new slot is.
	replaced map[netip.AddrPort]bool
	// idle are slots of registered nodes that are out of service.
	idle map[haproxy.ServerID]netip.AddrPort
}

// Assigned returns the slot of each address, as HAProxy has it now. Of several slots the one in service comes first, then
// the one of the kind that the node asks for.
func Assigned(nodes []Node, b Backend) map[netip.AddrPort]Slot {
	kind := map[netip.AddrPort]TLS{}
	for _, n := range byAddress(nodes) {
		kind[n.Addr] = n.TLS
	}
	byAddr, _ := index(b.Slots)
	assigned := map[netip.AddrPort]Slot{}
	for at, s := range byAddr {
		if at.addr == Placeholder {
			continue
		}
		if _, taken := assigned[at.addr]; !taken || kind[at.addr] == at.tls {
			assigned[at.addr] = *s
		}
	}
	return assigned
}

// address is what a slot is looked up by.
type address struct {
	tls  TLS
	addr netip.AddrPort
}

// assign leaves every node in its slot and gives the others one. A node whose check fails keeps its slot as long as no
// healthy node needs it.
func assign(nodes []Node, slots []Slot) assignment {
	a := assignment{
		of: make(map[netip.AddrPort]*Slot, len(nodes)), health: make(map[netip.AddrPort]Health, len(nodes)),
		taken:    make(map[haproxy.ServerID]bool, len(nodes)),
		replaced: map[netip.AddrPort]bool{}, idle: map[haproxy.ServerID]netip.AddrPort{},
	}
	byAddr, declared := index(slots)
	for _, n := range nodes {
		a.health[n.Addr] = n.Health
		if s := byAddr[address{n.TLS, n.Addr}]; s != nil {
			a.give(n, s)
			if !n.Health.Serves() && s.State == haproxy.Maint {
				a.idle[s.ID] = n.Addr
			}
		}
	}
	for _, n := range nodes {
		if a.of[n.Addr] == nil && n.Health.Serves() {
			a.place(n, declared[n.TLS])
		}
	}
	return a
}

// index finds slots by their address, one in service before one that is not, and lists those of the configuration by
// kind, in the order of their numbers.
func index(slots []Slot) (byAddr map[address]*Slot, declared map[TLS][]*Slot) {
	byAddr, declared = make(map[address]*Slot, len(slots)), map[TLS][]*Slot{}
	for i := range slots {
		s := &slots[i]
		if !s.Added {
			declared[s.TLS] = append(declared[s.TLS], s)
		}
		at := address{s.TLS, s.Addr}
		if other := byAddr[at]; other == nil || other.State == haproxy.Maint && s.State != haproxy.Maint {
			byAddr[at] = s
		}
	}
	for _, kind := range declared {
		slices.SortFunc(kind, byNumber)
	}
	return byAddr, declared
}

// place looks for a slot in this order: one that is out of service and nobody's, one of a registered node that is out of
// service, one that has drained.
func (a *assignment) place(n Node, slots []*Slot) {
	for s := range probe(n.Addr, slots) {
		if !a.taken[s.ID] && s.State == haproxy.Maint {
			a.give(n, s)
			return
		}
	}
	for s := range probe(n.Addr, slots) {
		if owner, ok := a.idle[s.ID]; ok {
			delete(a.of, owner)
			delete(a.idle, s.ID)
			a.give(n, s)
			return
		}
	}
	for s := range probe(n.Addr, slots) {
		if !a.taken[s.ID] && s.drained() {
			a.give(n, s)
			return
		}
	}
}

// staysReadmitted reports whether the slot still serves the node that was readmitted in it.
func (a *assignment) staysReadmitted(s *Slot) bool {
	return s.Readmitted && s.State == haproxy.Ready && a.of[s.Addr] == s && a.health[s.Addr].StaysInService()
}

// awaitsReplacement reports whether the slot still serves a node whose new slot (its scheme has changed) is not up in HAProxy
// yet. A later plan releases it.
func (a *assignment) awaitsReplacement(s *Slot) bool {
	next := a.of[s.Addr]
	if !s.Usable() || next == nil || !a.health[s.Addr].StaysInService() || a.replaced[s.Addr] ||
		next.Addr == s.Addr && next.Usable() {
		return false
	}
	a.replaced[s.Addr] = true
	return true
}

// awaitsOverflow reports whether the slot still serves a node that waits for a server of its own, added at runtime.
func (a *assignment) awaitsOverflow(s *Slot, waiting []Node) bool {
	if a.replaced[s.Addr] || !slices.ContainsFunc(waiting, func(n Node) bool { return n.Addr == s.Addr }) {
		return false
	}
	a.replaced[s.Addr] = true
	return true
}

func (a *assignment) give(n Node, s *Slot) {
	a.of[n.Addr] = s
	a.taken[s.ID] = true
}

// probe is the order in which a node tries the slots of its kind: linear probing from the FNV-1a hash of its address. It
// depends on nothing but that address and the number of slots, so load balancers with different histories agree on the slot
// of every node that does not collide with another.
func probe(addr netip.AddrPort, slots []*Slot) iter.Seq[*Slot] {
	return func(yield func(*Slot) bool) {
		if len(slots) == 0 {
			return
		}
		h := fnv.New64a()
		_, _ = h.Write([]byte(addr.String()))
		first := int(h.Sum64() % uint64(len(slots)))
		for i := range slots {
			if !yield(slots[(first+i)%len(slots)]) {
				return
			}
		}
	}
}

func byNumber(a, b *Slot) int { return cmp.Compare(a.number, b.number) }
