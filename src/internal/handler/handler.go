package handler

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/runtime"
)

const (
	// tick is how often the daemon looks after HAProxy between events: has it a
	// new worker, has a slot drained, is a failed pass due again.
	tick = 250 * time.Millisecond
	// passTimeout bounds one pass, with the wait for the lock.
	passTimeout = 15 * time.Second
	// Bounds of the wait after a failed question to Consul.
	minBackoff = 250 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// Handler mirrors one service of Consul into one HAProxy.
type Handler struct {
	cfg      Config
	log      hclog.Logger
	registry *registry.Registry
	pools    []backendPool
	drains   drains
	metrics  *metrics
	notices  *notices
	health   health
}

// New makes a handler. It connects to nothing yet.
func New(cfg Config, log hclog.Logger) (*Handler, error) {
	reg, err := registry.New(cfg.Consul.Address, cfg.Consul.TokenFile, cfg.Service)
	if err != nil {
		return nil, err
	}
	return &Handler{
		cfg: cfg, log: log, registry: reg, pools: pools(cfg.Pools), drains: drains{},
		metrics: newMetrics(), notices: newNotices(log), health: newHealth(),
	}, nil
}

// watch sends every new answer of Consul to updates until the context ends. It
// asks for ever: after an error again and again, a little slower each time.
func (h *Handler) watch(ctx context.Context, updates chan<- registry.Snapshot) {
	var index uint64
	wait := minBackoff
	for ctx.Err() == nil {
		snap, err := h.registry.Fetch(ctx, index)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			h.health.consul.failed(h.log, err)
			sleep(ctx, wait/2+rand.N(wait/2))
			wait = min(2*wait, maxBackoff)
			index = 0
			continue
		}
		wait = minBackoff
		h.health.consul.answered(h.log)
		if snap.Index == index {
			continue // the longest wait has passed without news
		}
		// An index that went back means that Consul has lost its past: ask from
		// the beginning (Consul's documentation, "Blocking Queries").
		if snap.Index < index {
			snap.Index = 0
		}
		index = snap.Index
		select {
		case updates <- snap:
		case <-ctx.Done():
		}
	}
}

// loop applies what watch sends and repairs what changes in HAProxy. It returns
// when the context ends. alive is called at every turn.
func (h *Handler) loop(ctx context.Context, updates <-chan registry.Snapshot, alive func()) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var l loopState
	for {
		select {
		case <-ctx.Done():
			return
		case snap := <-updates:
			h.notices.problems(snap.Problems)
			h.metrics.snapshot(snap)
			l.nodes, l.known, l.due = snap.Nodes, true, true
		case <-ticker.C:
			l.due = l.known && h.isDue(ctx, &l)
		}
		if l.due {
			h.run(ctx, &l)
		}
		alive()
	}
}

// loopState is what the loop knows between two turns.
type loopState struct {
	nodes []registry.Node
	known bool // Consul has answered once
	due   bool
	last  time.Time // of the last good pass
	out   outcome
}

// isDue says whether a pass is needed although Consul has nothing new.
func (h *Handler) isDue(ctx context.Context, l *loopState) bool {
	if l.due || l.out.draining > 0 || time.Since(l.last) >= h.cfg.ResyncInterval {
		return true
	}
	conn, err := runtime.Dial(ctx, h.cfg.HAProxy.AdminSocket)
	if err != nil {
		h.health.haproxy.failed(h.log, err)
		return true
	}
	defer func() { _ = conn.Close() }()
	info, err := conn.Info(ctx)
	return err != nil || info.Worker != l.out.worker
}

// run makes one pass and notes how it went. A failed one stays due.
func (h *Handler) run(ctx context.Context, l *loopState) {
	began := time.Now()
	bounded, cancel := context.WithTimeout(ctx, passTimeout)
	defer cancel()
	out, err := h.pass(bounded, l.nodes)
	if ctx.Err() != nil {
		return
	}
	h.metrics.pass(time.Since(began), err)
	l.due = err != nil
	if err != nil {
		h.health.haproxy.failed(h.log, err)
		return
	}
	if l.out.worker.Pid != "" && out.worker != l.out.worker {
		h.log.Info("HAProxy has a new worker; all slots were compared", "pid", out.worker.Pid)
	}
	l.out, l.last = out, time.Now()
	h.health.haproxy.answered(h.log)
}

// Sync makes one good pass with what Consul says now. It tries until the context
// ends, and then returns what went wrong last. It does not wait for slots that
// drain: Consul calls its watch handlers one after the other, and the next event
// may be a failing node. A later pass frees them.
func (h *Handler) Sync(ctx context.Context) error {
	var told string
	for {
		err := h.syncOnce(ctx)
		if err == nil {
			return nil
		}
		if what := withoutDigits(err); what != told && ctx.Err() == nil {
			told = what
			h.log.Warn("not done yet, trying again", "error", oneLine(err))
		}
		sleep(ctx, minBackoff)
		if ctx.Err() != nil {
			return err
		}
	}
}

func (h *Handler) syncOnce(ctx context.Context) error {
	unlock, err := lock(ctx, h.cfg.HAProxy.AdminSocket)
	if err != nil {
		return err
	}
	defer unlock()
	// Asked under the lock: a pass that waited must not apply an old answer over
	// a newer one.
	snap, err := h.registry.Fetch(ctx, 0)
	if err != nil {
		return err
	}
	h.notices.problems(snap.Problems)
	_, err = h.passLocked(ctx, snap.Nodes)
	return err
}

// report counts a pool that is in line, and says which nodes found no slot.
func (h *Handler) report(p backendPool, nodes []pool.Node, slots []pool.Slot, plan pool.Plan) {
	h.metrics.pool(p.name, nodes, slots, plan)
	h.notices.waiting(p, plan.Waiting)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
