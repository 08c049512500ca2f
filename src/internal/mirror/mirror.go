package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jonboulle/clockwork"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/connstatus"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/sleep"
)

// reconcileTimeout bounds one reconciliation, with the wait for the lock.
const reconcileTimeout = 15 * time.Second

// firstAnswer is how long Sync waits for Consul's first answer before it uses the list on the disk.
const firstAnswer = time.Second

// LongestTurn is how long a turn of the loop may take: one admission and one reconciliation.
const LongestTurn = 2 * reconcileTimeout

// Options are what is configured for one HAProxy.
type Options struct {
	// Socket is the path of the admin socket. Its folder is where the lock is taken.
	Socket string
	Pools  []Pool
	// SlotOverflow adds servers at runtime for nodes that find no slot; CAFile verifies the nodes behind them.
	SlotOverflow bool
	CAFile       haproxy.Path
	// WarningPercent is the share of its weight that a node in the warning state keeps, 1 to 100.
	WarningPercent int
	// GuardPercent is the share of the serving nodes that one snapshot may take out unconfirmed; 0 is any.
	GuardPercent int
	// MaxEjectedPercent is the share of a pool's nodes in service that HAProxy's own checks may take out; 100 is all.
	MaxEjectedPercent int
	// ReturnDelay is how long a node must have been healthy before it comes back.
	ReturnDelay time.Duration
	// DrainTimeout is how long a slot waits for its last request.
	DrainTimeout time.Duration
	// ResyncInterval is how often all slots are compared without an event.
	ResyncInterval time.Duration
}

// Source is where snapshots come from: registry.Watcher, or a test's.
type Source interface {
	// Once returns what Consul says now.
	Once(ctx context.Context) (registry.Snapshot, error)
	// Confirm is Once with the strongest consistency.
	Confirm(ctx context.Context) (registry.Snapshot, error)
	// Restart forgets the last answer, because it is in doubt.
	Restart()
	// Saved is the list on the disk, for a start without Consul; false when there is none.
	Saved() (registry.Snapshot, bool)
}

// Mirror keeps one HAProxy in line with the registry.
type Mirror struct {
	opts     Options
	log      hclog.Logger
	clock    clockwork.Clock
	source   Source
	status   *connstatus.Status
	observer Observer
	notices  *notices
	// lock keeps other callers out until unlock is called.
	lock func(ctx context.Context) (unlock func(), err error)

	session    *session
	reconciler *reconciler
	prover     *prover
	ejections  *ejections
	guard      guard
	// holding is what was last said of nodes that are kept.
	holding string

	// doubted are the backends for which the snapshot has to be confirmed.
	doubted []view

	// applied is the index of the snapshot that HAProxy has, also when another process has applied it.
	applied *appliedIndex
	// refuseOutdated makes a reconciliation with an older snapshot fail with errOutdated.
	refuseOutdated bool

	inbox    *latest
	snapshot registry.Snapshot
	// received is set once there is a snapshot.
	received bool
}

// New makes a mirror. It connects to nothing yet.
func New(
	opts Options, dial Dialer, probe Probe, source Source, log hclog.Logger, clock clockwork.Clock, status *connstatus.Status, observer Observer,
) *Mirror {
	s, n := newSession(dial, opts), newNotices(log, status, clock)
	r := report{observer, n}
	e := newEjections(opts.MaxEjectedPercent, probe, r)
	return &Mirror{
		opts: opts, log: log, clock: clock, source: source, status: status, observer: observer, notices: n,
		lock:    func(ctx context.Context) (func(), error) { return lockFolder(ctx, clock, opts.Socket) },
		session: s, reconciler: newReconciler(opts, clock, s, r, e), prover: newProver(probe), ejections: e,
		guard: guard{opts: opts}, inbox: newLatest(),
		applied: newAppliedIndex(opts.Socket, log),
	}
}

// Receive hands over a new snapshot. It never blocks; a snapshot that was not used yet is replaced.
func (m *Mirror) Receive(snap registry.Snapshot) { m.inbox.put(snap) }

// Sync makes one successful reconciliation with what Consul says now. It retries until the context ends, and then returns
// what went wrong last, or until HAProxy has been filled from the disk for lack of an answer. It does not wait for slots that drain: Consul calls its watch handlers one after the other, and the
// next event may be a failing node. A later call frees them.
func (m *Mirror) Sync(ctx context.Context) error {
	defer m.session.drop()
	var logged string
	for {
		err := m.syncOnce(ctx)
		if err == nil || errors.Is(err, errFilled) {
			return err
		}
		if what := connstatus.WithoutDigits(err); what != logged && ctx.Err() == nil {
			logged = what
			m.log.Warn("not done yet, retrying", "error", connstatus.OneLine(err))
		}
		sleep.Context(ctx, m.clock, tick)
		if ctx.Err() != nil {
			return err
		}
	}
}

func (m *Mirror) syncOnce(ctx context.Context) error {
	var err error
	// Without the lock: while Consul hangs, the daemon must still reach HAProxy.
	if m.snapshot, err = m.query(ctx); err != nil {
		return err
	}
	m.notices.problems(m.snapshot.Problems)
	m.refuseOutdated = true
	err = m.syncSnapshot(ctx)
	if errors.Is(err, errOutdated) {
		if m.snapshot, err = m.source.Once(ctx); err != nil {
			return err
		}
		m.refuseOutdated = false // if its index is still lower, Consul has lost data
		err = m.syncSnapshot(ctx)
	}
	return err
}

// errFilled ends Sync when HAProxy has the nodes of the list on the disk. The daemon, which has written the list, goes on.
var errFilled = errors.New("HAProxy has the nodes of the last list on the disk, and loses none; the daemon goes on asking Consul")

// query asks Consul. Where there is a list on the disk, Consul has a second: then HAProxy gets the nodes of the list.
func (m *Mirror) query(ctx context.Context) (registry.Snapshot, error) {
	saved, ok := m.source.Saved()
	if !ok {
		return m.source.Once(ctx)
	}
	short, cancel := context.WithTimeout(ctx, firstAnswer)
	defer cancel()
	snap, err := m.source.Once(short)
	if err == nil {
		return snap, nil
	}
	m.snapshot = saved
	if failed := m.syncSnapshot(ctx); failed != nil {
		return snap, errors.Join(err, failed)
	}
	return snap, fmt.Errorf("Consul has not answered: %w; %w", err, errFilled)
}

// syncSnapshot reconciles, and admits slots whose nodes answer instead of leaving them to HAProxy's next check.
func (m *Mirror) syncSnapshot(ctx context.Context) error {
	_, err := m.reconcile(ctx, reasonSnapshot)
	m.prover.run(ctx, m.reconciler.takeUnproven())
	if proven := m.prover.take(); len(proven) > 0 {
		err = errors.Join(err, m.admit(ctx, proven))
	}
	if err != nil {
		return err
	}
	if m.guard.holding != "" {
		return errors.New("most nodes would leave, and are kept: " + m.guard.holding)
	}
	return m.awaitHeld(ctx)
}

// heldTimeout is how long Sync waits for two checks of a node by HAProxy, which let it in, before it leaves a slot that should leave in service until the next call.
const heldTimeout = 12 * time.Second

// awaitHeld reconciles until no slot is held: nobody else would free it before the next change in Consul.
func (m *Mirror) awaitHeld(ctx context.Context) error {
	for deadline := m.clock.Now().Add(heldTimeout); m.reconciler.held; {
		if _, err := m.reconcile(ctx, reasonDeferred); err != nil || m.clock.Now().After(deadline) {
			return err
		}
		sleep.Context(ctx, m.clock, tick)
		if ctx.Err() != nil {
			return nil // HAProxy is as it should be but for the slots that are held
		}
	}
	return nil
}

// reconcile brings HAProxy in line with the present snapshot. It returns true when something is left for later.
func (m *Mirror) reconcile(ctx context.Context, why reason) (deferred bool, err error) {
	for {
		unlock, err := m.lock(ctx)
		if err != nil {
			return false, err
		}
		// The list on the disk removes nothing, and may be older than it needs to be: it is written when a node changes.
		known := !m.snapshot.FromDisk
		if known && m.refuseOutdated && m.applied.read() > m.snapshot.Index {
			unlock()
			return false, errOutdated
		}
		deferred, confirm, err := m.attempts(ctx, why)
		if known && err == nil && !confirm {
			m.applied.write(m.snapshot.Index)
		}
		unlock()
		if err != nil || !confirm {
			return deferred, err
		}
		// Without the lock: nobody else has to wait for Consul.
		m.confirm(ctx)
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
	}
}

// attempts is an attempt, and a second one when a reload has put a new worker in the place of the first one's.
func (m *Mirror) attempts(ctx context.Context, why reason) (deferred, confirm bool, err error) {
	deferred, confirm, err = m.attempt(ctx, why)
	var refused *haproxy.CommandError
	if errors.As(err, &refused) && refused.Replaced() {
		m.session.drop()
		deferred, confirm, err = m.attempt(ctx, why)
	}
	switch {
	case err == nil:
	case errors.As(err, &refused):
		m.session.forget()
	default:
		m.session.drop()
	}
	return deferred, confirm, err
}

// attempt decides and reconciles once. With confirm set it has changed nothing: Consul has to confirm the snapshot first.
func (m *Mirror) attempt(ctx context.Context, why reason) (deferred, confirm bool, err error) {
	views, err := m.session.views(ctx)
	if err != nil {
		return false, false, err
	}
	d := m.guard.decide(m.snapshot, views, m.clock.Now())
	if d.confirm {
		m.doubted = views
		return false, true, nil
	}
	m.hold(d.next)
	deferred, err = m.reconciler.reconcile(ctx, d.nodes, views, why)
	return deferred || d.undecided, false, err
}

// confirm asks Consul for its confirmation of a snapshot that would take most nodes out.
func (m *Mirror) confirm(ctx context.Context) {
	m.log.Warn("Consul's answer would take most nodes out of service at once; asking for confirmation")
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	second, err := m.source.Confirm(ctx)
	second.Epoch = m.snapshot.Epoch
	m.guard = m.guard.answered(second, err, m.clock.Now())
	if err != nil {
		m.observer.Guarded(Kept)
		m.source.Restart()
		return
	}
	m.snapshot = second
	result := Confirmed
	if !m.guard.suspicious(m.guard.members(second), m.doubted) {
		result = Refuted
		m.source.Restart()
	}
	m.log.Warn("Consul has answered again", "result", string(result))
	m.observer.Guarded(result)
}

// hold remembers what the guard decided, and says once why nodes are kept.
func (m *Mirror) hold(next guard) {
	if next.holding != m.holding {
		if next.holding != "" {
			m.log.Error("most nodes would leave; they are kept in service", "reason", next.holding)
		} else {
			m.log.Info("no node is kept in service against Consul's answer any longer")
		}
	}
	m.guard, m.holding = next, next.holding
	m.status.SetDetail("guard", next.holding)
	m.observer.Holding(next.holding != "")
}
