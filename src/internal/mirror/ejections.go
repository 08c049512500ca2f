package mirror

import (
	"context"
	"errors"
	"net/netip"
	"slices"
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
	// firstCheckTimeout is how long a slot that was filled may wait for its first good check before that is worth a line.
	firstCheckTimeout = 15 * time.Second
	// trialTime is how long a check that decides again has to pass until the node has returned.
	trialTime = 15 * time.Second
	// reasonTimeout is how long a line waits for HAProxy's reason, which is missing while the next check runs.
	reasonTimeout = 2 * time.Second
	// Bounds of the pause between two queries of a readmitted node. It grows while HAProxy's check fails although the node
	// answers the handler.
	minProbePause = time.Second
	maxProbePause = time.Minute
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

// followed is a slot in service and the node that has it.
type followed struct {
	pool.Checked
	addr netip.AddrPort
	// retries is HAProxy's counter at the last poll, -1 for none.
	retries int
	// since is when the slot was filled, or when HAProxy's check was switched on again.
	since time.Time
	// trial is set while the check of a node that was readmitted decides again: a failure belongs to the old ejection.
	trial bool
	// open is an ejection that has not ended, told is set when it was logged.
	open, told bool
	// failed is the check that took the node out.
	failed haproxy.CheckedServer
	// probe is when a readmitted node is queried next, and pause how long after the last query.
	probe time.Time
	pause time.Duration
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
	worker, all := m.session.worker, make([][]haproxy.CheckedServer, len(m.opts.Pools))
	for i, p := range m.opts.Pools {
		var err error
		if all[i], err = m.session.checks(ctx, p); err != nil {
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
		if err := m.correct(ctx, p, proven); err != nil {
			m.cannotFollow(err)
			return
		}
		e.tell(p, now)
		e.prober.start(ctx, e.questions(p, now))
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

// repeated is how many requests were repeated since the last poll. The counters of a new worker begin at 0.
func (f *followed) repeated(retries int, sameWorker bool) int {
	before := f.retries
	f.retries = retries
	switch {
	case before < 0:
		return 0
	case sameWorker && retries >= before:
		return retries - before
	}
	return retries
}

// update is what HAProxy says of the slot now.
func (f *followed) update(s haproxy.CheckedServer, now time.Time) {
	switch {
	case s.State != haproxy.CheckDown:
		f.up(s, now)
	case f.Standing == pool.Awaiting:
		if !f.open && s.Failed() && now.Sub(f.since) >= firstCheckTimeout {
			f.Ejected, f.failed = f.since, s
			f.open, f.told = true, false
		}
	case f.Standing == pool.Readmitted || f.trial:
		f.Standing, f.trial = pool.Ejected, false
		f.pause = min(2*max(f.pause, minProbePause), maxProbePause)
	case f.Standing != pool.Ejected:
		f.Standing, f.Ejected, f.failed = pool.Ejected, now.Add(-s.Since), s
		f.open, f.told = true, false
	case f.failed.Running:
		f.failed = s
	}
}

func (f *followed) up(s haproxy.CheckedServer, now time.Time) {
	switch {
	case s.State == haproxy.CheckOff && (f.Standing == pool.Ejected || f.Standing == pool.Readmitted):
		f.Standing = pool.Readmitted
	case f.Standing == pool.Readmitted: // a reload, or somebody else, has switched its check on
		f.release(now)
	default:
		f.Standing = pool.Accepted
	}
	if f.trial && now.Sub(f.since) >= trialTime {
		f.trial, f.pause = false, 0
	}
}

// release lets HAProxy's check decide again.
func (f *followed) release(now time.Time) { f.Standing, f.trial, f.since = pool.Accepted, true, now }

// correct readmits nodes while too many are ejected, and lets HAProxy's check decide again where it may.
func (m *Mirror) correct(ctx context.Context, p Pool, proven []pool.In) error {
	slots := m.ejections.slots[p.Name]
	readmit, release := pool.Readmit(standings(slots), m.opts.MaxEjectedPercent)
	for _, in := range proven {
		if f := slots[in.Slot]; f != nil && f.addr == in.Addr && !slices.Contains(release, in.Slot) {
			release = append(release, in.Slot)
		}
	}
	if len(readmit)+len(release) == 0 {
		return nil
	}
	unlock, err := m.lock(ctx)
	if err != nil {
		return nil // somebody else has it for long: the next poll decides again
	}
	defer unlock()
	servers, err := m.session.reread(ctx, p)
	if err != nil {
		return err
	}
	m.session.cache.servers = nil // they change
	for _, s := range servers {
		f := slots[s.ID]
		switch {
		case f == nil || f.addr != s.Addr || s.State != haproxy.Ready: // it has changed meanwhile
		case slices.Contains(readmit, s.ID) && !s.Up:
			err = m.tellHAProxy(ctx, p, f.readmit, haproxy.DisableCheck(s.ID), haproxy.SetUp(s.ID))
		case slices.Contains(release, s.ID) && s.CheckDisabled:
			err = m.tellHAProxy(ctx, p, f.release, haproxy.EnableCheck(s.ID))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tellHAProxy sends commands, and calls done when HAProxy has taken all of them. The error is that of the connection.
func (m *Mirror) tellHAProxy(ctx context.Context, p Pool, done func(time.Time), cmds ...haproxy.Command) error {
	errs, err := m.session.apply(ctx, cmds)
	if err != nil {
		return err
	}
	m.ejections.report.executed(p, cmds, errs)
	if errors.Join(errs...) == nil {
		done(m.clock.Now())
	}
	return nil
}

// readmit puts the node back into service.
func (f *followed) readmit(now time.Time) {
	f.Standing, f.pause = pool.Readmitted, max(f.pause, minProbePause)
	f.probe = now.Add(f.pause)
}

func standings(slots map[haproxy.ServerID]*followed) []pool.Checked {
	all := make([]pool.Checked, 0, len(slots))
	for _, f := range slots {
		all = append(all, f.Checked)
	}
	return all
}

// questions are the readmitted nodes that are to be queried now.
func (e *ejections) questions(p Pool, now time.Time) (due []pool.In) {
	var members map[netip.AddrPort]pool.Node
	for _, f := range e.slots[p.Name] {
		if f.Standing != pool.Readmitted || now.Before(f.probe) {
			continue
		}
		if members == nil {
			members = e.members(p)
		}
		n := members[f.addr]
		f.probe = now.Add(max(f.pause, minProbePause))
		due = append(due, pool.In{Slot: f.Slot, Addr: f.addr, TLS: n.TLS, SNI: n.SNI})
	}
	return due
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
