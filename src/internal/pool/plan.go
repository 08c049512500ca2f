package pool

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
)

// Plan is what has to be done to one backend, in the order of its fields.
//
// Failing nodes leave first. A slot is filled while it is out of service and goes in only after its address was read back.
// One plan is one step: after it the slots are read and planned again until nothing is left to do.
type Plan struct {
	// Out takes slots of failing nodes out of service at once.
	Out []haproxy.Command
	// Fill gives slots that are out of service their node.
	Fill []haproxy.Command
	// In lists the slots to put in service, each after its address was verified.
	In []In
	// Live changes weight and maxconn of slots in service.
	Live []haproxy.Command
	// Leave drains slots, and frees those that have drained.
	Leave []haproxy.Command
	// Waiting are the nodes that should have a slot and find none.
	Waiting []Node
	// Draining are the slots that still wait for their last request.
	Draining []haproxy.ServerID
	// Held are the slots that should leave and stay, because what replaces them is not up in HAProxy yet.
	Held []haproxy.ServerID
}

// In is a slot to put in service once HAProxy says that it has this address.
type In struct {
	Slot haproxy.ServerID
	Addr netip.AddrPort
	TLS  TLS
	SNI  haproxy.Hostname
	// Checked is set where HAProxy's own check must pass before the first request is sent.
	Checked bool
}

// Commands put the slot in service.
func (in In) Commands() []haproxy.Command {
	ready := haproxy.SetState(in.Slot, haproxy.Ready)
	if !in.Checked {
		return []haproxy.Command{ready}
	}
	return []haproxy.Command{haproxy.SetState(in.Slot, haproxy.Drain), haproxy.SetDown(in.Slot), ready}
}

// Empty is true when nothing has to be sent.
func (p Plan) Empty() bool {
	return len(p.Out)+len(p.Fill)+len(p.In)+len(p.Live)+len(p.Leave) == 0
}

// Commands are all of the plan's, in the order in which they are carried out.
func (p Plan) Commands() []haproxy.Command {
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
	// staying is how many slots can be sent a request and are not taken out by the plan so far.
	staying int
	// coming is how many nodes are to serve whose slot is not up in HAProxy yet; wanted and leaving are, by kind, how many
	// nodes wait for a slot, and how many slots leave that could be given to them.
	coming          int
	wanted, leaving map[TLS]int
	// lastOut is the index in Out of the last slot that was serving, -1 for none.
	lastOut int
}

// Make plans one backend. Nodes and slots may come in any order.
func Make(nodes []Node, b Backend) Plan {
	p := planner{backend: b, lastOut: -1, wanted: map[TLS]int{}, leaving: map[TLS]int{}}
	for _, s := range b.Slots {
		if s.Usable() {
			p.staying++
		}
	}
	nodes = byAddress(nodes)
	assigned := assign(nodes, b.Slots)
	for _, n := range nodes {
		s := assigned.of[n.Addr]
		if n.Returning {
			p.coming++
		}
		switch {
		case s == nil && n.Health.Serves():
			p.Waiting = append(p.Waiting, n)
			p.wanted[n.TLS]++
		case s != nil:
			p.bring(s, n)
			if n.Health == Maintenance && !s.Added {
				p.leaving[s.TLS]++
			}
		}
	}
	for _, s := range b.Slots {
		if !assigned.taken[s.ID] && !s.Added {
			p.leaving[s.TLS]++
		}
	}
	// Who leaves gently does so last: whether it may depends on who stays and who comes.
	for _, n := range nodes {
		if s := assigned.of[n.Addr]; s != nil && n.Health == Maintenance {
			p.drain(s)
		}
	}
	for i := range b.Slots {
		p.repairCheck(&b.Slots[i], assigned.staysReadmitted(&b.Slots[i]))
		switch s := &b.Slots[i]; {
		case assigned.taken[s.ID]:
		case b.MayGrow && s.Usable() && assigned.awaitsOverflow(s, p.Waiting):
			p.Held = append(p.Held, s.ID)
		case assigned.awaitsReplacement(s):
			if assigned.health[s.Addr].Serves() {
				p.Held = append(p.Held, s.ID)
			}
		default:
			p.release(s)
		}
	}
	if b.MayGrow {
		p.grow()
	}
	p.keepOneInService()
	p.proveNobodyInVain()
	return p.Plan
}

// keepOneInService makes the last serving slot wait for its replacement: HAProxy fails every waiting request when a backend
// has no server left, if only for a millisecond (seen with 3.0 and later).
func (p *planner) keepOneInService() {
	if p.staying > 0 || p.lastOut < 0 || len(p.In) == 0 {
		return
	}
	p.Leave = append([]haproxy.Command{p.Out[p.lastOut]}, p.Leave...)
	p.Out = slices.Delete(p.Out, p.lastOut, p.lastOut+1)
}

// bring makes a slot what its node needs.
func (p *planner) bring(s *Slot, n Node) {
	switch n.Health {
	case Unchecked:
		// Nothing is known: it stays as it is.
	case Critical:
		if s.State != haproxy.Maint {
			p.out(s)
		}
	case Maintenance:
		// See Make.
	default:
		p.serve(s, n)
	}
}

func (p *planner) out(s *Slot) {
	if s.Usable() {
		p.staying--
		p.lastOut = len(p.Out)
	}
	p.Out = append(p.Out, haproxy.SetState(s.ID, haproxy.Maint))
}

// serve puts a node in service in its slot, or brings its values up to date.
func (p *planner) serve(s *Slot, n Node) {
	moves := s.Addr != n.Addr
	out := &p.Live
	if s.State == haproxy.Maint || moves {
		out = &p.Fill
	}
	if moves {
		// A slot that still drains for another node is taken out first: its requests finish on the old address.
		if s.State != haproxy.Maint {
			p.out(s)
		}
		*out = append(*out, haproxy.SetAddr(s.ID, n.Addr))
	}
	if want := n.SNI.String(); s.TLS != Plain && !s.Added && s.SNI != want && p.backend.SNIMap != (haproxy.Path{}) {
		*out = append(*out, haproxy.SetSNI(p.backend.SNIMap, s.ID, s.SNI, n.SNI))
	}
	if s.Weight != n.Weight {
		*out = append(*out, haproxy.SetWeight(s.ID, n.Weight))
	}
	if s.MaxConn != n.MaxConn {
		*out = append(*out, haproxy.SetMaxConn(s.ID, n.MaxConn))
	}
	if moves || !s.Usable() {
		p.coming++
	}
	if s.State != haproxy.Ready || moves {
		unproven := s.Checked && (moves || s.State == haproxy.Maint)
		p.In = append(p.In, In{s.ID, n.Addr, n.TLS, n.SNI, unproven})
	}
}

// proveNobodyInVain lets nodes serve without waiting for HAProxy's check while no other slot serves: Consul's word is then
// enough, because a request that may fail is better than one that must.
func (p *planner) proveNobodyInVain() {
	if p.staying > 0 {
		return
	}
	for i := range p.In {
		p.In[i].Checked = false
	}
}

// repairCheck undoes what somebody has done to HAProxy's own check of a slot. It would outlive the slot's node, and a reload.
func (p *planner) repairCheck(s *Slot, readmitted bool) {
	redirected := s.CheckPort != 0 || s.CheckAddr.IsValid()
	if s.CheckDisabled && (!readmitted || redirected) { // HAProxy does not change a check that is off
		p.Live = append(p.Live, haproxy.EnableCheck(s.ID))
	}
	if redirected {
		p.Live = append(p.Live, haproxy.ResetCheck(s.ID))
	}
}

// release frees a slot whose node is gone.
func (p *planner) release(s *Slot) {
	if s.Free() && !s.Added && s.SNI == "" {
		return
	}
	p.drain(s)
	switch {
	case s.State != haproxy.Maint && !s.drained():
	case s.Added && s.Busy > 0 && !s.Expired:
		p.Draining = append(p.Draining, s.ID)
	case s.Added:
		p.Leave = append(p.Leave, haproxy.DelServer(s.ID))
	default:
		if s.Addr != Placeholder {
			p.Leave = append(p.Leave, haproxy.SetAddr(s.ID, Placeholder))
		}
		if s.SNI != "" {
			p.Leave = append(p.Leave, haproxy.SetSNI(p.backend.SNIMap, s.ID, s.SNI, haproxy.Hostname{}))
		}
	}
}

// drain takes a slot out gently: no new request, and maintenance when the last one has ended or the drain has expired.
func (p *planner) drain(s *Slot) {
	switch {
	case s.Usable() && p.staying == 1 && p.replaced(s):
		p.Held = append(p.Held, s.ID)
	case s.State == haproxy.Ready && p.lastForQueue(s):
		p.Draining = append(p.Draining, s.ID)
	case s.State == haproxy.Ready:
		if s.Usable() {
			p.staying--
		}
		p.Leave = append(p.Leave, haproxy.SetState(s.ID, haproxy.Drain))
		p.Draining = append(p.Draining, s.ID)
	case s.drained():
		p.Leave = append(p.Leave, haproxy.SetState(s.ID, haproxy.Maint))
	case s.State == haproxy.Drain:
		p.Draining = append(p.Draining, s.ID)
	}
}

// replaced reports whether another slot comes into service: a node's that is not up yet, or one that leaves and is given to
// a node that waits. A slot that must be given away itself is not replaced.
func (p *planner) replaced(s *Slot) bool {
	if p.coming > 0 || p.backend.MayGrow && len(p.Waiting) > 0 {
		return true
	}
	for kind, n := range p.wanted {
		others := p.leaving[kind]
		if kind == s.TLS {
			others--
		}
		if n > 0 && others > 0 {
			return true
		}
	}
	return false
}

// lastForQueue reports whether requests are queued and this slot is the last that could take them. HAProxy would fail all of
// them at once if it drained (seen with 3.0 and later).
func (p *planner) lastForQueue(s *Slot) bool {
	return s.Usable() && p.staying == 1 && len(p.In) == 0 && !s.Expired && p.backend.Queued+s.Queued > 0
}

func (s *Slot) drained() bool {
	return s.State == haproxy.Drain && (s.Busy == 0 || s.Expired)
}

// grow adds a server for each waiting node. The next plan puts it in service.
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
		id, err := haproxy.NewServerID(p.backend.Name, n.TLS.Prefix()+overflow+strconv.Itoa(number))
		if err != nil { // the backend's name comes from the configuration, where it was checked
			still = append(still, n)
			continue
		}
		used[n.TLS][number] = true
		add := haproxy.NewServer{ID: id, Addr: n.Addr, Weight: n.Weight, MaxConn: n.MaxConn, TLS: n.TLS != Plain, SNI: n.SNI}
		if n.TLS == Verified {
			add.CAFile = p.backend.CAFile
		}
		p.Fill = append(p.Fill, haproxy.AddServer(add))
	}
	p.Waiting = still
}
