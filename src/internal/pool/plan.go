package pool

import (
	"net/netip"
	"slices"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/runtime"
)

// Plan is what has to be done to one backend, in the order of its fields.
//
// Failing nodes leave first. A slot is filled while it is out of service and
// goes in only after its address was read back. A plan is one round: after it
// the slots are read again, and planned again until nothing is left to do.
type Plan struct {
	// Out takes slots of failing nodes out of service at once.
	Out []runtime.Command
	// Fill gives slots that are out of service their node.
	Fill []runtime.Command
	// In lists the slots to put in service, each after its address was verified.
	In []In
	// Live changes weight and maxconn of slots in service.
	Live []runtime.Command
	// Leave drains slots, and frees those that have drained.
	Leave []runtime.Command
	// Waiting are nodes that should have a slot and find none.
	Waiting []Node
	// Draining are the slots that still wait for their last request.
	Draining []runtime.SlotID
}

// In is a slot to put in service once HAProxy says that it has this address.
type In struct {
	Slot runtime.SlotID
	Addr netip.AddrPort
}

// Empty is true when nothing has to be sent.
func (p Plan) Empty() bool {
	return len(p.Out)+len(p.Fill)+len(p.In)+len(p.Live)+len(p.Leave) == 0
}

// Make plans one backend. Nodes and slots may come in any order.
func Make(nodes []Node, slots []Slot) Plan {
	var p Plan
	nodes = one(nodes)
	seats := seat(nodes, slots)
	for _, n := range nodes {
		s := seats.of[n.Addr]
		switch {
		case s == nil && n.Health <= Warning:
			p.Waiting = append(p.Waiting, n)
		case s != nil:
			p.bring(s, n)
		}
	}
	for i := range slots {
		if s := &slots[i]; !seats.taken[s.ID] && !seats.awaited(s) {
			p.release(s)
		}
	}
	return p
}

// bring makes a slot what its node needs.
func (p *Plan) bring(s *Slot, n Node) {
	switch n.Health {
	case Unchecked:
		// Nothing is known: neither in nor out.
	case Critical:
		if s.State != runtime.Maint {
			p.Out = append(p.Out, runtime.SetState(s.ID, runtime.Maint))
		}
	case Maintenance:
		p.drain(s)
	default:
		p.serve(s, n)
	}
}

// serve puts a node in service in its slot, or brings its values up to date.
func (p *Plan) serve(s *Slot, n Node) {
	out := &p.Live
	if s.State == runtime.Maint || s.Addr != n.Addr {
		out = &p.Fill
	}
	if s.Addr != n.Addr {
		// A slot that is still draining for another node is cut off first: its
		// requests finish on the old address.
		if s.State != runtime.Maint {
			p.Out = append(p.Out, runtime.SetState(s.ID, runtime.Maint))
		}
		*out = append(*out, runtime.SetAddr(s.ID, n.Addr))
	}
	if s.Weight != n.Weight {
		*out = append(*out, runtime.SetWeight(s.ID, n.Weight))
	}
	if s.MaxConn != n.MaxConn {
		*out = append(*out, runtime.SetMaxConn(s.ID, n.MaxConn))
	}
	if s.State != runtime.Ready || s.Addr != n.Addr {
		p.In = append(p.In, In{s.ID, n.Addr})
	}
}

// release frees a slot that nobody has any more.
func (p *Plan) release(s *Slot) {
	if s.free() {
		return
	}
	p.drain(s)
	if s.State == runtime.Maint || s.drained() {
		p.Leave = append(p.Leave, runtime.SetAddr(s.ID, Placeholder))
	}
}

// drain takes a slot out gently: no new request, and maintenance when the last
// one has ended or waited long enough.
func (p *Plan) drain(s *Slot) {
	switch {
	case s.State == runtime.Ready:
		p.Leave = append(p.Leave, runtime.SetState(s.ID, runtime.Drain))
		p.Draining = append(p.Draining, s.ID)
	case s.drained():
		p.Leave = append(p.Leave, runtime.SetState(s.ID, runtime.Maint))
	case s.State == runtime.Drain:
		p.Draining = append(p.Draining, s.ID)
	}
}

func (s *Slot) drained() bool {
	return s.State == runtime.Drain && (s.Busy == 0 || s.Expired)
}

// seating says who has which slot.
type seating struct {
	of     map[netip.AddrPort]*Slot
	health map[netip.AddrPort]Health
	taken  map[runtime.SlotID]bool
	// held: one slot of another kind still serves the node.
	held map[netip.AddrPort]bool
}

// seat keeps every node where it is and gives the others a slot. A node whose
// check fails keeps its slot as long as no healthy node needs it.
func seat(nodes []Node, slots []Slot) seating {
	byKind := map[TLS][]*Slot{}
	for i := range slots {
		byKind[slots[i].TLS] = append(byKind[slots[i].TLS], &slots[i])
	}
	for _, kind := range byKind {
		slices.SortFunc(kind, byNumber)
	}
	st := seating{
		of: map[netip.AddrPort]*Slot{}, health: map[netip.AddrPort]Health{},
		taken: map[runtime.SlotID]bool{}, held: map[netip.AddrPort]bool{},
	}
	for _, n := range nodes {
		st.health[n.Addr] = n.Health
		if s := present(n, byKind[n.TLS]); s != nil {
			st.give(n, s)
		}
	}
	idle := map[runtime.SlotID]Node{}
	for _, n := range nodes {
		if s := st.of[n.Addr]; s != nil && n.Health > Warning && s.State == runtime.Maint {
			idle[s.ID] = n
		}
	}
	for _, n := range nodes {
		if st.of[n.Addr] == nil && n.Health <= Warning {
			st.place(n, byKind[n.TLS], idle)
		}
	}
	return st
}

// present finds the slot that a node has: one in service before one that is not.
func present(n Node, slots []*Slot) *Slot {
	var found *Slot
	for _, s := range slots {
		if s.Addr == n.Addr && (found == nil || found.State == runtime.Maint && s.State != runtime.Maint) {
			found = s
		}
	}
	return found
}

// place looks for a slot in this order: a free one, one of a registered node
// that is out of service anyway, one that has drained.
func (st *seating) place(n Node, slots []*Slot, idle map[runtime.SlotID]Node) {
	order := probe(n.Addr, slots)
	for _, s := range order {
		if !st.taken[s.ID] && s.State == runtime.Maint {
			st.give(n, s)
			return
		}
	}
	for _, s := range order {
		if owner, ok := idle[s.ID]; ok {
			delete(st.of, owner.Addr)
			delete(idle, s.ID)
			st.give(n, s)
			return
		}
	}
	for _, s := range order {
		if !st.taken[s.ID] && s.drained() {
			st.give(n, s)
			return
		}
	}
}

// awaited: the slot still serves a node whose new slot is not in service yet
// (its scheme has changed). It is released by the next plan.
func (st *seating) awaited(s *Slot) bool {
	next := st.of[s.Addr]
	if s.State != runtime.Ready || next == nil || st.health[s.Addr] > Unchecked || st.held[s.Addr] ||
		next.Addr == s.Addr && next.State == runtime.Ready {
		return false
	}
	st.held[s.Addr] = true
	return true
}

func (st *seating) give(n Node, s *Slot) {
	st.of[n.Addr] = s
	st.taken[s.ID] = true
}
