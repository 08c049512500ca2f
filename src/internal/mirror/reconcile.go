package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/sleep"
)

const (
	// maxSteps bounds how often one reconciliation plans again from what it has read back. A node that moves needs most: it
	// goes in, its old slot drains, the slot is freed.
	maxSteps = 8
	// settleTimeout is how long HAProxy may take to show an address that it accepted.
	settleTimeout = 200 * time.Millisecond
)

// reason is why a reconciliation is due.
type reason int

const (
	reasonNone      reason = iota
	reasonSnapshot         // Consul or DNS has something new
	reasonDeferred         // the last reconciliation left something for later
	reasonRetry            // the last one failed
	reasonNewWorker        // HAProxy has been restarted or reloaded
	reasonResync           // nothing has happened for a while
)

// reconciler brings the pools of one HAProxy in line with the nodes that they should have.
type reconciler struct {
	opts    Options
	clock   clockwork.Clock
	session *session
	report  report
	drains  drains
	returns returnDelay
	// ejections is what HAProxy's own checks have done.
	ejections *ejections
	// held is set while a slot stays in service that should leave.
	held bool
	// unproven are slots that went in and wait for HAProxy's first check: see Mirror.prove.
	unproven []pool.In
}

func newReconciler(opts Options, clock clockwork.Clock, s *session, r report, e *ejections) *reconciler {
	return &reconciler{opts: opts, clock: clock, session: s, report: r, drains: drains{}, returns: returnDelay{}, ejections: e}
}

// reconcile brings every pool in line with its nodes. Others may do the same at the same time. On an error the slots are as
// HAProxy has them, and the next reconciliation goes on from there. It returns true when something is left for later: a slot
// that drains, a node that waits for its return delay.
func (r *reconciler) reconcile(ctx context.Context, nodes [][]pool.Node, views []view, why reason) (deferred bool, err error) {
	cache := &r.session.cache
	var errs []error
	r.held = false
	for i, p := range r.opts.Pools {
		r.ejections.nodes[p.Name] = nodes[i]
		if known := cache.inLine[p.Name]; known != nil && slices.Equal(known, nodes[i]) {
			continue
		}
		delete(cache.inLine, p.Name)
		servers, plan, wait, err := r.reconcilePool(ctx, p, nodes[i], views[i], why)
		r.held = r.held || len(plan.Held) > 0
		if cache.servers != nil {
			cache.servers[i] = servers
		}
		if err == nil && !wait {
			cache.inLine[p.Name] = append([]pool.Node{}, nodes[i]...)
		}
		deferred = deferred || wait
		errs = append(errs, err)
	}
	if r.held {
		cache.servers = nil // whether another server is up is to be read the next time
	}
	return deferred, errors.Join(errs...)
}

// reconcilePool plans and applies until nothing is left to do: the last plan, made from what HAProxy then says, is the proof
// that the changes have arrived. It returns the servers as they are then, and that plan.
func (r *reconciler) reconcilePool(
	ctx context.Context, p Pool, nodes []pool.Node, v view, why reason,
) (servers []haproxy.Server, plan pool.Plan, deferred bool, err error) {
	for step := range maxSteps {
		if step > 0 {
			if servers, err = r.session.reread(ctx, p); err != nil {
				return nil, plan, false, err
			}
			if v, err = r.session.view(ctx, p, servers, false); err != nil {
				return nil, plan, false, err
			}
		}
		var wait bool
		plan, wait, err = r.plan(ctx, p, nodes, &v)
		if err != nil {
			return nil, plan, false, fmt.Errorf("backend %s: %w", p.Backend, err)
		}
		if plan.Empty() {
			r.report.observer.InLine(p.Name, nodes, v.Slots, plan)
			r.report.notices.waiting(p, plan.Waiting)
			r.report.notices.held(p, plan.Held)
			r.report.notices.serving(p, nodes, v.Slots)
			return v.servers, plan, wait || len(plan.Draining)+len(plan.Held) > 0, nil
		}
		if why == reasonResync && step == 0 {
			r.report.observer.Drifted(p.Name, len(plan.Commands()))
			r.report.notices.drift(p, plan)
		}
		if err = r.apply(ctx, p, plan); err != nil {
			return nil, plan, false, fmt.Errorf("backend %s: %w", p.Backend, err)
		}
	}
	return nil, plan, false, fmt.Errorf("backend %s: HAProxy does not keep what it is told; is another program changing its slots?", p.Backend)
}

// plan makes one plan. Before a slot drains it must be known how many requests it runs.
func (r *reconciler) plan(ctx context.Context, p Pool, nodes []pool.Node, v *view) (pool.Plan, bool, error) {
	nodes, wait := r.returns.hold(p.Name, nodes, v.Backend, r.opts.ReturnDelay, r.clock.Now())
	plan := pool.Make(nodes, r.withMemory(p, v.Backend))
	if len(plan.Leave) > 0 && !v.busyRead {
		var err error
		if *v, err = r.session.view(ctx, p, v.servers, true); err != nil {
			return plan, false, err
		}
		plan = pool.Make(nodes, r.withMemory(p, v.Backend))
	}
	r.drains.update(v.Name, plan.Draining, r.clock.Now())
	return plan, wait, nil
}

// withMemory marks the slots whose drain has taken too long, and those whose check is off because the handler wants it so.
func (r *reconciler) withMemory(p Pool, b pool.Backend) pool.Backend {
	now := r.clock.Now()
	for i := range b.Slots {
		s := &b.Slots[i]
		s.Expired = r.drains.expired(s.ID, r.opts.DrainTimeout, now)
		s.Readmitted = r.ejections.readmitted(p.Name, s.Server)
	}
	return b
}

// apply sends one plan. What fails is reported and does not stop the rest: one bad slot must not hold up the others. The
// next step repairs what it can.
func (r *reconciler) apply(ctx context.Context, p Pool, plan pool.Plan) error {
	var failed []error
	send := func(cmds []haproxy.Command) error {
		errs, broken := r.session.apply(ctx, cmds)
		if broken != nil {
			return broken
		}
		for i, err := range errs {
			if err != nil {
				failed = append(failed, err)
			}
			if cmds[i].Hidden() {
				delete(r.session.cache.details, p.Name)
			}
		}
		r.report.executed(p, cmds, errs)
		return nil
	}
	for _, cmds := range [][]haproxy.Command{plan.Out, plan.Fill} {
		if err := send(cmds); err != nil {
			return err
		}
	}
	ready, err := r.verified(ctx, p, plan)
	if err != nil {
		return err
	}
	var in []haproxy.Command
	for _, slot := range ready {
		in = append(in, slot.Commands()...)
	}
	r.ejections.filled(p, ready, r.clock.Now())
	r.unproven = append(r.unproven, waitingForCheck(ready)...)
	for _, cmds := range [][]haproxy.Command{in, plan.Live, plan.Leave} {
		if err := send(cmds); err != nil {
			return err
		}
	}
	if len(ready) < len(plan.In) {
		failed = append(failed, fmt.Errorf("%d filled slots do not show their address and stay out", len(plan.In)-len(ready)))
	}
	return errors.Join(failed...)
}

// waitingForCheck are the slots that HAProxy sends no request before its own check has passed. A node with a name for TLS is
// left to that check, which does not send the name: it would refuse what the handler has let in.
func waitingForCheck(all []pool.In) []pool.In {
	return slices.DeleteFunc(slices.Clone(all), func(in pool.In) bool { return !in.Checked || in.SNI != (haproxy.Hostname{}) })
}

// takeUnproven returns the slots that wait for HAProxy's first check, and forgets them.
func (r *reconciler) takeUnproven() []pool.In {
	all := r.unproven
	r.unproven = nil
	return all
}

// verified reads filled slots back and returns those to put in service: the ones whose address is what was asked for.
func (r *reconciler) verified(ctx context.Context, p Pool, plan pool.Plan) ([]pool.In, error) {
	if len(plan.In) == 0 || len(plan.Fill) == 0 {
		return plan.In, nil
	}
	for deadline := r.clock.Now().Add(settleTimeout); ; {
		servers, err := r.session.reread(ctx, p)
		if err != nil {
			return nil, err
		}
		shown := make(map[haproxy.ServerID]haproxy.Server, len(servers))
		for _, s := range servers {
			shown[s.ID] = s
		}
		var ready []pool.In
		for _, in := range plan.In {
			if shown[in.Slot].Addr == in.Addr {
				ready = append(ready, in)
			}
		}
		if len(ready) == len(plan.In) || r.clock.Now().After(deadline) {
			return ready, nil
		}
		sleep.Context(ctx, r.clock, settleTimeout/10)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}
