package mirror

import (
	"context"
	"errors"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy/socket"
)

const (
	// tick is how often the loop looks after HAProxy between events: has it a new worker, has a slot drained, is a failed
	// reconciliation due again.
	tick = 250 * time.Millisecond
	// redialInterval is how often a HAProxy that is away is dialled.
	redialInterval = 20 * time.Millisecond
)

// schedule is what the loop remembers between reconciliations.
type schedule struct {
	// due is why a reconciliation is due.
	due reason
	// fullRead is when all slots were read last.
	fullRead time.Time
	// deferred is when the next reconciliation is due although nothing happens, the zero value for not at all.
	deferred time.Time
	// away is set while HAProxy cannot be reached.
	away bool
	// retryAfter is the wait after a failure.
	retryAfter time.Duration
}

// Run applies every snapshot and repairs what changes in HAProxy, until the context ends. alive is called at every turn.
func (m *Mirror) Run(ctx context.Context, alive func()) {
	defer m.session.drop()
	defer m.prover.group.Wait()
	defer m.ejections.prober.group.Wait()
	ticker := m.clock.NewTicker(tick)
	defer ticker.Stop()
	retry := m.clock.NewTimer(tick)
	defer retry.Stop()
	s := schedule{retryAfter: tick}
	for {
		gone := m.session.gone()
		if gone == nil && s.due != reasonNone {
			retry.Reset(s.retryAfter)
		}
		select {
		case <-ctx.Done():
			return
		case m.snapshot = <-m.inbox.c:
			m.received, s.due = true, reasonSnapshot
			m.notices.problems(m.snapshot.Problems)
			m.notices.fromDisk(m.snapshot.FromDisk)
			m.observer.Received(m.snapshot)
		case <-gone:
			m.session.drop()
			s.due = reasonRetry
		case <-m.prover.ready:
			s = m.admitProven(ctx, s)
		case <-retry.Chan():
		case <-ticker.Chan():
			if s.due == reasonNone {
				s.due = m.look(ctx, s)
			} else if m.session.conn != nil { // one bad slot does not let HAProxy's checks take out a pool
				m.followChecks(ctx)
			}
		}
		if m.received && s.due != reasonNone {
			s = m.turn(ctx, s)
		}
		alive()
	}
}

// look says why a reconciliation is due although nothing has happened.
func (m *Mirror) look(ctx context.Context, s schedule) reason {
	now := m.clock.Now()
	// Counted from the last full read and not from the last reconciliation: where something changes all the time, slots that
	// somebody else has changed would never be looked at.
	if m.received && now.Sub(s.fullRead) >= m.opts.ResyncInterval {
		return reasonResync
	}
	if m.session.conn == nil {
		return reasonRetry
	}
	bounded, cancel := context.WithTimeout(ctx, reconcileTimeout)
	defer cancel()
	if m.session.replaced(bounded) {
		m.session.drop()
		return reasonNewWorker
	}
	m.followChecks(ctx)
	if !s.deferred.IsZero() && now.After(s.deferred) {
		return reasonDeferred
	}
	return reasonNone
}

// admitProven puts slots in service whose nodes have answered. Slots that were held for them may leave then.
func (m *Mirror) admitProven(ctx context.Context, s schedule) schedule {
	ctx, cancel := context.WithTimeout(ctx, reconcileTimeout)
	defer cancel()
	proven := m.prover.take()
	next := reasonDeferred
	if err := m.admit(ctx, proven); err != nil {
		m.reconciler.unproven = append(m.reconciler.unproven, proven...) // to be queried again after the next turn
		next = reasonRetry
	}
	if s.due == reasonNone {
		s.due = next
	}
	return s
}

// turn makes one reconciliation and schedules the next. A failed one stays due.
func (m *Mirror) turn(ctx context.Context, s schedule) schedule {
	why, began := s.due, m.clock.Now()
	if why != reasonSnapshot && why != reasonDeferred {
		m.session.forget()
	}
	bounded, cancel := context.WithTimeout(ctx, reconcileTimeout)
	defer cancel()
	before, full := m.session.worker, m.session.cache.empty()
	deferred, err := m.reconcile(bounded, why)
	if ctx.Err() != nil {
		return s
	}
	away := errors.Is(err, socket.ErrNoConnection)
	if !away || !s.away { // a HAProxy that stays away is one failure, however often it is dialled
		m.observer.Reconciled(m.clock.Since(began), err)
	}
	s.away = away
	if !away { // one bad slot does not keep the others from being proven
		m.prover.start(ctx, m.reconciler.takeUnproven())
	}
	if err != nil {
		s.due, s.retryAfter = reasonRetry, tick
		if away {
			s.retryAfter = redialInterval
		}
		m.status.Failed(err)
		return s
	}
	s.due, s.deferred = reasonNone, time.Time{}
	if full {
		s.fullRead = began
	}
	if deferred {
		s.deferred = m.clock.Now().Add(tick / 2)
	}
	if m.guard.holding == "" && !m.snapshot.FromDisk {
		m.observer.Applied(m.snapshot)
	}
	if why == reasonSnapshot {
		m.observer.Converged(m.clock.Since(m.snapshot.Seen))
	}
	if before.Pid != "" && before != m.session.worker {
		m.log.Info("HAProxy has a new worker; all slots were compared", "pid", m.session.worker.Pid)
	}
	m.status.Answered()
	return s
}
