package handler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/runtime"
)

const (
	// tick is how often the daemon looks after HAProxy between events: has it a
	// new worker, has a slot drained, is a failed pass due again.
	tick = 250 * time.Millisecond
	// redial is how often a HAProxy that is away is looked for.
	redial = 20 * time.Millisecond
	// passTimeout bounds one pass, with the wait for the lock.
	passTimeout = 15 * time.Second
)

// cause is why a pass is made.
type cause int

const (
	none   cause = iota
	news         // Consul or DNS has something new
	rest         // the last pass left something for later
	again        // the last pass failed
	worker       // HAProxy has been restarted or reloaded
	resync       // nothing has happened for a while
)

// target is one HAProxy process that is kept in line.
type target struct {
	cfg     Config
	socket  string
	log     hclog.Logger
	source  *source
	inbox   *mailbox
	pools   []backendPool
	metrics *metrics
	notices *notices
	haproxy *peer

	// conn is kept between passes, nil when there is none.
	conn    *runtime.Conn
	worker  runtime.Worker
	version string
	known   map[string]details
	// settled are the nodes that a pool is known to be in line with.
	settled map[string][]pool.Node
	// seen are the slots of each backend as they were after the last good pass,
	// nil when they have to be read.
	seen   [][]runtime.Server
	drains drains
	steady steady
	guard  guard

	ans  answer
	have bool // an answer
	due  cause
	// full is when all slots were read last; soon is when the next pass is due
	// although nothing happens, the zero value for not at all.
	full, soon time.Time
	// wait is the time to the next try after a failure.
	wait time.Duration
}

// details are what is expensive to read, and changed by nobody but us.
type details struct {
	maxConn map[runtime.SlotID]int
	sni     map[string]string
}

// loop applies what the source tells and repairs what changes in HAProxy. It
// returns when the context ends. alive is called at every turn.
func (t *target) loop(ctx context.Context, alive func()) {
	defer t.drop()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	retry := time.NewTimer(tick)
	defer retry.Stop()
	for {
		var gone <-chan struct{}
		if t.conn != nil {
			gone = t.conn.Gone()
		} else if t.due != none {
			retry.Reset(t.wait)
		}
		select {
		case <-ctx.Done():
			return
		case ans := <-t.inbox.c:
			t.ans, t.have, t.due = ans, true, news
			t.notices.problems(ans.problems)
			t.metrics.answer(ans)
		case <-gone:
			t.drop()
			t.due = again
		case <-retry.C:
		case <-ticker.C:
			if t.due == none {
				t.due = t.look(ctx)
			}
		}
		if t.have && t.due != none {
			t.run(ctx)
		}
		alive()
	}
}

// look says whether a pass is needed although there are no news.
func (t *target) look(ctx context.Context) cause {
	// Not since the last pass: where something changes all the time, slots that
	// somebody else has changed would never be looked at.
	if t.have && time.Since(t.full) >= t.cfg.ResyncInterval {
		return resync
	}
	if !t.soon.IsZero() && time.Now().After(t.soon) {
		return rest
	}
	if t.conn == nil {
		return again
	}
	ctx, cancel := context.WithTimeout(ctx, passTimeout)
	defer cancel()
	info, err := t.conn.Info(ctx)
	if err != nil || info.Stopping || info.Worker != t.worker {
		t.drop()
		return worker
	}
	return none
}

// run makes one pass and notes how it went. A failed one stays due.
func (t *target) run(ctx context.Context) {
	why, began := t.due, time.Now()
	if why != news && why != rest {
		t.forget()
	}
	bounded, cancel := context.WithTimeout(ctx, passTimeout)
	defer cancel()
	before, full := t.worker, t.seen == nil
	later, err := t.pass(bounded, why)
	if ctx.Err() != nil {
		return
	}
	t.metrics.pass(t.socket, time.Since(began), err)
	if err != nil {
		t.due, t.wait = again, tick
		if errors.Is(err, runtime.ErrNoConnection) {
			t.wait = redial
		}
		t.haproxy.failed(t.log, err)
		return
	}
	t.due, t.soon = none, time.Time{}
	if full {
		t.full = began
	}
	if later {
		t.soon = time.Now().Add(tick / 2)
	}
	if why == news {
		t.metrics.convergence.Observe(time.Since(t.ans.seen).Seconds())
	}
	if before.Pid != "" && before != t.worker {
		t.log.Info("HAProxy has a new worker; all slots were compared", "pid", t.worker.Pid)
	}
	t.haproxy.answered(t.log)
}

// drop ends the connection: it is broken, or its worker is an old one.
func (t *target) drop() {
	if t.conn != nil {
		t.conn.Close()
	}
	t.conn = nil
	t.forget()
}

// forget makes the next pass read everything.
func (t *target) forget() {
	t.known, t.seen, t.settled = map[string]details{}, nil, map[string][]pool.Node{}
}

// slots are those of all pools. After a good pass they are known: nobody else
// changes them but passes of others, which want the same. What is wrong all the
// same is seen when the changes are read back, or by the next resync.
func (t *target) slots(ctx context.Context) ([][]runtime.Server, error) {
	if t.conn != nil && t.seen != nil {
		return t.seen, nil
	}
	return t.observe(ctx)
}

// observe connects where needed and reads all slots. A worker that is on its
// way out is left for the new one.
func (t *target) observe(ctx context.Context) ([][]runtime.Server, error) {
	backends := make([]string, 0, len(t.pools))
	for _, p := range t.pools {
		backends = append(backends, p.Backend)
	}
	for range 2 {
		if t.conn == nil {
			conn, err := runtime.Dial(ctx, t.socket)
			if err != nil {
				return nil, err
			}
			t.conn = conn
		}
		info, servers, err := t.conn.Look(ctx, backends...)
		switch {
		case err != nil:
			t.drop()
			return nil, fmt.Errorf("read the slots: %w", err)
		case info.Stopping:
			t.drop()
			continue
		case info.Worker != t.worker:
			t.forget()
			t.worker, t.version = info.Worker, info.Version
		}
		t.seen = servers
		return servers, nil
	}
	return nil, errors.New("this HAProxy worker is stopping; waiting for the new one")
}

// view is a backend as a plan needs it.
type view struct {
	pool.Backend
	// fresh: how busy the slots are was read with it.
	fresh   bool
	servers []runtime.Server
}

// backend makes of the servers of a pool what a plan needs. The expensive part is
// read when it is not known, when something drains, and when fresh is asked for.
func (t *target) backend(ctx context.Context, p backendPool, servers []runtime.Server, fresh bool) (view, error) {
	b := pool.Backend{
		Name: p.Backend, MayGrow: t.cfg.HAProxy.SlotOverflow, CAFile: p.caFile, SNIMap: p.sniMap,
		Slots: make([]pool.Slot, 0, len(servers)),
	}
	known, ok := t.known[p.Backend]
	fresh = fresh || !ok
	for _, s := range servers {
		slot, ours := pool.NewSlot(s)
		if !ours {
			continue
		}
		slot.Expired = t.drains.expired(s.ID, t.cfg.DrainTimeout)
		if slot.State == runtime.Drain || slot.Added && slot.State == runtime.Maint {
			fresh = true
		}
		b.Slots = append(b.Slots, slot)
	}
	if len(b.Slots) == 0 {
		return view{}, fmt.Errorf("backend %s has no slots: its server-templates must be called http, https or https-noverify", p.Backend)
	}
	var loads runtime.Loads
	if fresh {
		var err error
		if known, loads, err = t.read(ctx, p); err != nil {
			return view{}, err
		}
		t.known[p.Backend] = known
	}
	b.Queued = loads.Queued
	for i := range b.Slots {
		s := &b.Slots[i]
		if s.MaxConn, ok = known.maxConn[s.ID]; !ok {
			delete(t.known, p.Backend)
			return view{}, fmt.Errorf("show stat %s has no line for %s: half an answer", p.Backend, s.ID)
		}
		load := loads.Servers[s.ID]
		s.Busy, s.Queued, s.SNI = load.Busy, load.Queued, known.sni[s.ID.Name()]
	}
	return view{b, fresh, servers}, nil
}

// read asks HAProxy for what is expensive.
func (t *target) read(ctx context.Context, p backendPool) (details, runtime.Loads, error) {
	loads, err := t.conn.Loads(ctx, p.Backend)
	if err != nil {
		return details{}, loads, err
	}
	d := details{maxConn: make(map[runtime.SlotID]int, len(loads.Servers))}
	for id, l := range loads.Servers {
		d.maxConn[id] = l.MaxConn
	}
	if p.sniMap != (runtime.MapFile{}) {
		if d.sni, err = t.conn.SNIs(ctx, p.sniMap); err != nil {
			return details{}, loads, err
		}
	}
	return d, loads, nil
}
