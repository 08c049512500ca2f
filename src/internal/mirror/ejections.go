package mirror

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/connstatus"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
)

const (
	// pollShare bounds what the polls cost: HAProxy is left alone for that many times as long as the last answer took.
	pollShare = 50
	// longestPause is the longest pause between two polls, however slow HAProxy is.
	longestPause = 5 * time.Second
	// reasonTimeout is how long a line waits for HAProxy's reason, which is missing while the next check runs.
	reasonTimeout = 2 * time.Second
)

// PoolChecks is what HAProxy's own checks make of a pool.
type PoolChecks struct {
	// Retries has every registered node, with how many requests were repeated since the last time.
	Retries map[netip.AddrPort]int
	// Ejected and Readmitted count nodes.
	Ejected, Readmitted int
}

// ejections follows HAProxy's own checks of the nodes in service: which nodes they take out and let in again, and that they
// do not take out too many.
type ejections struct {
	percent int
	report  report
	// prober queries the readmitted nodes.
	prober *prover
	// nodes are those that each pool was last to have.
	nodes map[string][]pool.Node
	slots map[string]map[haproxy.ServerID]*followed
	// worker is the one that the counters of the last poll are from.
	worker haproxy.Worker
	// due is when the next poll is.
	due time.Time
	// exceeded are the pools with readmitted nodes, as last said.
	exceeded map[string]bool
	// failure is what was last said of an answer that could not be read.
	failure string
}

func newEjections(percent int, probe Probe, r report) *ejections {
	return &ejections{
		percent: percent, report: r, prober: newProver(probe),
		nodes: map[string][]pool.Node{}, slots: map[string]map[haproxy.ServerID]*followed{}, exceeded: map[string]bool{},
	}
}

// filled notes slots that HAProxy's check has to let in first.
func (e *ejections) filled(p Pool, slots []pool.In, now time.Time) {
	if e.slots[p.Name] == nil {
		e.slots[p.Name] = map[haproxy.ServerID]*followed{}
	}
	for _, in := range slots {
		if in.Checked {
			e.slots[p.Name][in.Slot] = &followed{
				Checked: pool.Checked{Slot: in.Slot, Standing: pool.Awaiting}, addr: in.Addr, retries: -1, since: now,
			}
		}
	}
}

// readmitted reports whether HAProxy's check of the slot is off because the handler wants it so.
func (e *ejections) readmitted(poolName string, s haproxy.Server) bool {
	f := e.slots[poolName][s.ID]
	return f != nil && f.addr == s.Addr && f.Standing == pool.Readmitted
}

// followChecks polls HAProxy for its own checks, says what they have done, and keeps them from taking out too many nodes.
func (m *Mirror) followChecks(ctx context.Context) {
	e, began := m.ejections, m.clock.Now()
	if !m.received || began.Before(e.due) {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, reconcileTimeout)
	defer cancel()
	worker, all := m.session.worker, make([][]haproxy.CheckedServer, len(m.opts.Pools))
	for i, p := range m.opts.Pools {
		var err error
		if all[i], err = m.session.checks(bounded, p); err != nil {
			e.due = m.clock.Now().Add(longestPause)
			m.cannotFollow(err)
			return
		}
	}
	now := m.clock.Now()
	e.due, e.failure = now, ""
	if pause := min(pollShare*now.Sub(began), longestPause); pause > tick {
		e.due = now.Add(pause)
	}
	proven := e.prober.take()
	for i, p := range m.opts.Pools {
		e.update(p, all[i], worker, now)
		if err := m.correct(bounded, p, proven); err != nil {
			m.cannotFollow(err)
			return
		}
		e.tell(p, now)
		e.prober.start(ctx, e.questions(p, now)) // which outlives this poll
	}
	e.worker = worker
}

// errUnreadable is an answer of "show stat" that means nothing to the handler.
var errUnreadable = errors.New("an answer that cannot be read")

// cannotFollow says once why HAProxy's checks cannot be followed. An error that is no refusal leaves the connection useless.
func (m *Mirror) cannotFollow(err error) {
	var refused *haproxy.CommandError
	if !errors.As(err, &refused) && !errors.Is(err, errUnreadable) {
		m.session.drop()
		return // the next reconciliation says that HAProxy is away
	}
	if text := connstatus.WithoutDigits(err); text != m.ejections.failure {
		m.ejections.failure = text
		m.log.Warn("cannot follow HAProxy's own checks; no limit holds for how many nodes they eject", "error", connstatus.OneLine(err))
	}
}

// update brings what is known of the pool's slots up to date.
func (e *ejections) update(p Pool, servers []haproxy.CheckedServer, worker haproxy.Worker, now time.Time) {
	members := e.members(p)
	counts := PoolChecks{Retries: make(map[netip.AddrPort]int, len(members))}
	for addr := range members {
		counts.Retries[addr] = 0
	}
	before := e.slots[p.Name]
	slots := make(map[haproxy.ServerID]*followed, len(servers))
	for _, s := range servers {
		n, registered := members[s.Addr]
		if !registered || !n.Health.StaysInService() {
			continue
		}
		f := before[s.ID]
		if f == nil || f.addr != s.Addr {
			f = &followed{Checked: pool.Checked{Slot: s.ID}, addr: s.Addr, retries: -1}
			if s.State == haproxy.CheckDown && !s.Failed() {
				f.Standing, f.since = pool.Awaiting, now
			}
		}
		counts.Retries[s.Addr] += f.repeated(s.Retries, worker == e.worker)
		f.update(s, now)
		slots[s.ID] = f
		switch {
		case f.Standing == pool.Readmitted:
			counts.Readmitted++
		case f.Standing == pool.Ejected, f.Standing == pool.Awaiting && f.open:
			counts.Ejected++
		}
	}
	e.slots[p.Name] = slots
	e.report.observer.Checked(p.Name, counts)
}

// members are the registered nodes of the pool. Of several registrations of an address the healthiest counts.
func (e *ejections) members(p Pool) map[netip.AddrPort]pool.Node {
	members := make(map[netip.AddrPort]pool.Node, len(e.nodes[p.Name]))
	for _, n := range e.nodes[p.Name] {
		if known, ok := members[n.Addr]; !ok || n.Health < known.Health {
			members[n.Addr] = n
		}
	}
	return members
}

// tell logs each ejection and each return once.
func (e *ejections) tell(p Pool, now time.Time) {
	var out, back []*followed
	readmitted, trials := 0, 0
	for _, f := range e.slots[p.Name] {
		if f.Standing == pool.Readmitted {
			readmitted++
		}
		if f.trial {
			trials++
		}
		over := f.Standing == pool.Accepted && !f.trial
		if f.open && !f.told && (!f.failed.Running || over || now.Sub(f.Ejected) >= reasonTimeout) {
			f.told = true
			out = append(out, f)
			e.report.observer.Ejected(p.Name, f.addr, f.failed.Code)
		}
		if f.open && over {
			f.open = false
			back = append(back, f)
		}
	}
	ids := map[netip.AddrPort]string{}
	if len(out)+len(back) > 0 {
		for addr, n := range e.members(p) {
			ids[addr] = n.ID
		}
	}
	e.report.notices.ejected(p, ids, out)
	e.report.notices.returned(p, ids, back, now)
	if exceeded := readmitted > 0 || e.exceeded[p.Name] && trials > 0; exceeded != e.exceeded[p.Name] {
		e.exceeded[p.Name] = exceeded
		e.report.notices.exceeded(p, readmitted, len(e.slots[p.Name]), e.percent)
	}
}
