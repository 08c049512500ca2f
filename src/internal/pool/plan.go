package pool

import (
	"net/netip"
	"slices"
	"strconv"

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
	// Checked: HAProxy's own check must pass before the first request is sent.
	Checked bool
}

// Commands put the slot in service.
func (in In) Commands() []runtime.Command {
	ready := runtime.SetState(in.Slot, runtime.Ready)
	if !in.Checked {
		return []runtime.Command{ready}
	}
	return []runtime.Command{runtime.SetState(in.Slot, runtime.Drain), runtime.SetDown(in.Slot), ready}
}

// Empty is true when nothing has to be sent.
func (p Plan) Empty() bool {
	return len(p.Out)+len(p.Fill)+len(p.In)+len(p.Live)+len(p.Leave) == 0
}

// Commands are all of the plan's, in the order in which they are carried out.
func (p Plan) Commands() []runtime.Command {
	cmds := slices.Concat(p.Out, p.Fill)
	for _, in := range p.In {
		cmds = append(cmds, in.Commands()...)
	}
	return slices.Concat(cmds, p.Live, p.Leave)
}

// planner makes one plan.
type planner struct {
	Plan
	backend Backend
	// serving is how many slots can be sent a request before the plan is carried
	// out, staying how many of them the plan has not taken out yet.
	serving, staying int
	// lastOut is the place in Out of the last one that was serving.
	lastOut int
}

// Make plans one backend. Nodes and slots may come in any order.
func Make(nodes []Node, b Backend) Plan {
	p := planner{backend: b, lastOut: -1}
	for _, s := range b.Slots {
		if s.usable() {
			p.serving++
		}
	}
	p.staying = p.serving
	nodes = one(nodes)
	seats := seat(nodes, b.Slots)
	for _, n := range nodes {
		s := seats.of[n.Addr]
		switch {
		case s == nil && n.Health <= Warning:
			p.Waiting = append(p.Waiting, n)
		case s != nil:
			p.bring(s, n)
		}
	}
	for i := range b.Slots {
		if s := &b.Slots[i]; !seats.taken[s.ID] && !seats.awaited(s) {
			p.release(s)
		}
	}
	if b.MayGrow {
		p.grow()
	}
	p.keepOneInService()
	return p.Plan
}

// keepOneInService lets the last slot that serves wait for its replacement:
// HAProxy fails every waiting request when a backend has no server left, be it
// for a millisecond (seen with 3.0 and later).
func (p *planner) keepOneInService() {
	if p.staying > 0 || p.lastOut < 0 || len(p.In) == 0 {
		return
	}
	p.Leave = append([]runtime.Command{p.Out[p.lastOut]}, p.Leave...)
	p.Out = slices.Delete(p.Out, p.lastOut, p.lastOut+1)
}

// bring makes a slot what its node needs.
func (p *planner) bring(s *Slot, n Node) {
	switch n.Health {
	case Unchecked:
		// Nothing is known: neither in nor out.
	case Critical:
		if s.State != runtime.Maint {
			p.out(s)
		}
	case Maintenance:
		p.drain(s)
	default:
		p.serve(s, n)
	}
}

func (p *planner) out(s *Slot) {
	if s.usable() {
		p.staying--
		p.lastOut = len(p.Out)
	}
	p.Out = append(p.Out, runtime.SetState(s.ID, runtime.Maint))
}

// serve puts a node in service in its slot, or brings its values up to date.
func (p *planner) serve(s *Slot, n Node) {
	moves := s.Addr != n.Addr
	out := &p.Live
	if s.State == runtime.Maint || moves {
		out = &p.Fill
	}
	if moves {
		// A slot that is still draining for another node is cut off first: its
		// requests finish on the old address.
		if s.State != runtime.Maint {
			p.out(s)
		}
		*out = append(*out, runtime.SetAddr(s.ID, n.Addr))
	}
	if want := n.SNI.String(); s.TLS != Plain && !s.Added && s.SNI != want && p.backend.SNIMap != (runtime.MapFile{}) {
		*out = append(*out, runtime.SetSNI(p.backend.SNIMap, s.ID, s.SNI, n.SNI))
	}
	if s.Weight != n.Weight {
		*out = append(*out, runtime.SetWeight(s.ID, n.Weight))
	}
	if s.MaxConn != n.MaxConn {
		*out = append(*out, runtime.SetMaxConn(s.ID, n.MaxConn))
	}
	if s.State != runtime.Ready || moves {
		p.In = append(p.In, In{s.ID, n.Addr, p.unproven(s, moves)})
	}
}

// unproven: HAProxy checks the slot and has not seen its node up. While no other
// slot serves, the registry's word is enough: a request that may fail is better
// than one that must.
func (p *planner) unproven(s *Slot, moves bool) bool {
	return s.Checked && p.serving > 0 && (moves || s.State == runtime.Maint)
}

// release frees a slot that nobody has any more.
func (p *planner) release(s *Slot) {
	if s.free() && !s.Added && s.SNI == "" {
		return
	}
	p.drain(s)
	switch {
	case s.State != runtime.Maint && !s.drained():
	case s.Added && s.Busy > 0 && !s.Expired:
		p.Draining = append(p.Draining, s.ID)
	case s.Added:
		p.Leave = append(p.Leave, runtime.DelServer(s.ID))
	default:
		if s.Addr != Placeholder {
			p.Leave = append(p.Leave, runtime.SetAddr(s.ID, Placeholder))
		}
		if s.SNI != "" {
			p.Leave = append(p.Leave, runtime.SetSNI(p.backend.SNIMap, s.ID, s.SNI, runtime.Hostname{}))
		}
	}
}

// drain takes a slot out gently: no new request, and maintenance when the last
// one has ended or waited long enough.
func (p *planner) drain(s *Slot) {
	switch {
	case s.State == runtime.Ready && p.lastHope(s):
		p.Draining = append(p.Draining, s.ID)
	case s.State == runtime.Ready:
		if s.usable() {
			p.staying--
		}
		p.Leave = append(p.Leave, runtime.SetState(s.ID, runtime.Drain))
		p.Draining = append(p.Draining, s.ID)
	case s.drained():
		p.Leave = append(p.Leave, runtime.SetState(s.ID, runtime.Maint))
	case s.State == runtime.Drain:
		p.Draining = append(p.Draining, s.ID)
	}
}

// lastHope: requests wait, and this slot is the last that could take them.
// HAProxy would fail them all at once if it drained (seen with 3.0 and later).
func (p *planner) lastHope(s *Slot) bool {
	return s.usable() && p.staying == 1 && len(p.In) == 0 && !s.Expired && p.backend.Queued+s.Queued > 0
}

func (s *Slot) drained() bool {
	return s.State == runtime.Drain && (s.Busy == 0 || s.Expired)
}

// grow adds a server for each node that waits. The next plan puts it in service.
func (p *planner) grow() {
	used := map[TLS]map[int]bool{Plain: {}, Verified: {}, Unverified: {}}
	for _, s := range p.backend.Slots {
		if s.Added {
			used[s.TLS][s.number] = true
		}
	}
	var still []Node
	for _, n := range p.Waiting {
		number := 1
		for used[n.TLS][number] {
			number++
		}
		id, err := runtime.NewSlotID(p.backend.Name, n.TLS.Prefix()+overflow+strconv.Itoa(number))
		if err != nil { // the backend's name comes from the configuration, where it was checked
			still = append(still, n)
			continue
		}
		used[n.TLS][number] = true
		add := runtime.NewServer{ID: id, Addr: n.Addr, Weight: n.Weight, MaxConn: n.MaxConn, TLS: n.TLS != Plain, SNI: n.SNI}
		if n.TLS == Verified {
			add.CAFile = p.backend.CAFile
		}
		p.Fill = append(p.Fill, runtime.AddServer(add))
	}
	p.Waiting = still
}

// seating says who has which slot.
type seating struct {
	of     map[netip.AddrPort]*Slot
	health map[netip.AddrPort]Health
	taken  map[runtime.SlotID]bool
	// held: one slot of another kind still serves the node.
	held map[netip.AddrPort]bool
	// idle are slots of registered nodes that are out of service.
	idle map[runtime.SlotID]netip.AddrPort
}

// Seats says which slot each address has: the one in service before one that is
// not, of the kind that the node has now before another one.
func Seats(nodes []Node, b Backend) map[netip.AddrPort]Slot {
	kind := map[netip.AddrPort]TLS{}
	for _, n := range one(nodes) {
		kind[n.Addr] = n.TLS
	}
	byAddr, _ := index(b.Slots)
	seats := map[netip.AddrPort]Slot{}
	for at, s := range byAddr {
		if at.addr == Placeholder {
			continue
		}
		if _, taken := seats[at.addr]; !taken || kind[at.addr] == at.tls {
			seats[at.addr] = *s
		}
	}
	return seats
}

// address is what a slot is looked up by.
type address struct {
	tls  TLS
	addr netip.AddrPort
}

// seat keeps every node where it is and gives the others a slot. A node whose
// check fails keeps its slot as long as no healthy node needs it.
func seat(nodes []Node, slots []Slot) seating {
	st := seating{
		of: make(map[netip.AddrPort]*Slot, len(nodes)), health: make(map[netip.AddrPort]Health, len(nodes)),
		taken: make(map[runtime.SlotID]bool, len(nodes)),
		held:  map[netip.AddrPort]bool{}, idle: map[runtime.SlotID]netip.AddrPort{},
	}
	byAddr, lasting := index(slots)
	for _, n := range nodes {
		st.health[n.Addr] = n.Health
		if s := byAddr[address{n.TLS, n.Addr}]; s != nil {
			st.give(n, s)
			if n.Health > Warning && s.State == runtime.Maint {
				st.idle[s.ID] = n.Addr
			}
		}
	}
	for _, n := range nodes {
		if st.of[n.Addr] == nil && n.Health <= Warning {
			st.place(n, lasting[n.TLS])
		}
	}
	return st
}

// index finds slots by their address, one in service before one that is not,
// and lists those that can be given away, in the order of their numbers.
func index(slots []Slot) (byAddr map[address]*Slot, lasting map[TLS][]*Slot) {
	byAddr, lasting = make(map[address]*Slot, len(slots)), map[TLS][]*Slot{}
	for i := range slots {
		s := &slots[i]
		if !s.Added {
			lasting[s.TLS] = append(lasting[s.TLS], s)
		}
		at := address{s.TLS, s.Addr}
		if other := byAddr[at]; other == nil || other.State == runtime.Maint && s.State != runtime.Maint {
			byAddr[at] = s
		}
	}
	for _, kind := range lasting {
		slices.SortFunc(kind, byNumber)
	}
	return byAddr, lasting
}

// place looks for a slot in this order: a free one, one of a registered node
// that is out of service anyway, one that has drained.
func (st *seating) place(n Node, slots []*Slot) {
	for s := range probe(n.Addr, slots) {
		if !st.taken[s.ID] && s.State == runtime.Maint {
			st.give(n, s)
			return
		}
	}
	for s := range probe(n.Addr, slots) {
		if owner, ok := st.idle[s.ID]; ok {
			delete(st.of, owner)
			delete(st.idle, s.ID)
			st.give(n, s)
			return
		}
	}
	for s := range probe(n.Addr, slots) {
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
