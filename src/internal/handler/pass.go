package handler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/runtime"
)

const (
	// rounds bounds how often one pass plans again what it has read back. A node
	// that moves needs most: it goes in, its old slot drains, the slot is freed.
	rounds = 6
	// settle is how long HAProxy may take to show an address that it accepted.
	settle = 200 * time.Millisecond
)

// pass brings both backends in line with the last answer. Others may do the same
// at the same time. On an error the slots are as HAProxy has them, and the next
// pass goes on from there. It returns true when something is left for later: a
// slot that drains, a node that has not been passing for long enough.
func (t *target) pass(ctx context.Context, why cause) (later bool, err error) {
	unlock, err := lock(ctx, t.socket)
	if err != nil {
		return false, err
	}
	defer unlock()
	return t.passLocked(ctx, why)
}

func (t *target) passLocked(ctx context.Context, why cause) (later bool, err error) {
	later, err = t.round(ctx, why)
	var refused *runtime.CommandError
	if errors.As(err, &refused) && refused.Replaced() {
		// A reload has put a new worker in the place of this one.
		t.drop()
		later, err = t.round(ctx, why)
	}
	switch {
	case err == nil:
	case errors.As(err, &refused):
		t.forget()
	default:
		t.drop()
	}
	return later, err
}

// round is one attempt at a pass.
func (t *target) round(ctx context.Context, why cause) (later bool, err error) {
	backends, err := t.backends(ctx)
	if err != nil {
		return false, err
	}
	wanted, later := t.decide(ctx, backends)
	var errs []error
	for i, p := range t.pools {
		if why == news && t.settled[p.name] != nil && slices.Equal(t.settled[p.name], wanted[i]) {
			continue
		}
		delete(t.settled, p.name)
		last, wait, err := t.align(ctx, p, wanted[i], backends[i], why)
		t.seen[i] = last
		if err == nil && !wait {
			t.settled[p.name] = append([]pool.Node{}, wanted[i]...)
		}
		later = later || wait
		errs = append(errs, err)
	}
	return later, errors.Join(errs...)
}

// backendPool is one pool and its rule of membership.
type backendPool struct {
	name string
	PoolConfig
	sniMap, caFile runtime.MapFile
	has            func(registry.Node) bool
}

func pools(cfg Config) ([]backendPool, error) {
	both := []backendPool{
		{name: "default", PoolConfig: cfg.Pools.Default, has: func(n registry.Node) bool { return n.Default }},
		{name: "pow", PoolConfig: cfg.Pools.PoW, has: func(n registry.Node) bool { return n.PoW }},
	}
	for i := range both {
		p := &both[i]
		for path, file := range map[string]*runtime.MapFile{p.SNIMap: &p.sniMap, cfg.HAProxy.CAFile: &p.caFile} {
			if path == "" {
				continue
			}
			var err error
			if *file, err = runtime.NewMapFile(path); err != nil {
				return nil, err
			}
		}
	}
	return both, nil
}

// members are the pool's nodes, with its default limit where they set none.
func (p backendPool) members(all []registry.Node, warningPercent int) []pool.Node {
	var nodes []pool.Node
	for _, n := range all {
		if !p.has(n) {
			continue
		}
		node := n.Node
		if !n.MaxConnSet {
			node.MaxConn = p.MaxConn
		}
		nodes = append(nodes, node)
	}
	return pool.Shares(nodes, warningPercent)
}

// align plans and applies until nothing is left to do: the last plan, made from
// what HAProxy then says, is the proof that the changes have arrived. It returns
// the slots as they are then, and true when something is left for later.
func (t *target) align(
	ctx context.Context, p backendPool, nodes []pool.Node, b view, why cause,
) (last []runtime.Server, later bool, err error) {
	for round := range rounds {
		if round > 0 {
			if b, err = t.reread(ctx, p); err != nil {
				return nil, false, err
			}
		}
		plan, wait, err := t.plan(ctx, p, nodes, &b)
		if err != nil {
			return nil, false, fmt.Errorf("backend %s: %w", p.Backend, err)
		}
		if plan.Empty() {
			t.report(p, nodes, b.Backend, plan)
			return b.servers, wait || len(plan.Draining) > 0, nil
		}
		if round == 0 && why == resync {
			t.drift(p, plan)
		}
		if err := t.apply(ctx, p, plan); err != nil {
			return nil, false, fmt.Errorf("backend %s: %w", p.Backend, err)
		}
	}
	return nil, false, fmt.Errorf("backend %s: HAProxy does not keep what it is told; is another program changing its slots?", p.Backend)
}

// plan makes one plan. Before a slot drains it must be known how busy it is.
func (t *target) plan(ctx context.Context, p backendPool, nodes []pool.Node, b *view) (pool.Plan, bool, error) {
	nodes, wait := t.steady.hold(p.name, nodes, b.Backend, t.cfg.ReturnDelay)
	plan := pool.Make(nodes, b.Backend)
	if len(plan.Leave) > 0 && !b.fresh {
		var err error
		if *b, err = t.backend(ctx, p, b.servers, true); err != nil {
			return plan, false, err
		}
		plan = pool.Make(nodes, b.Backend)
	}
	t.drains.update(p.Backend, plan.Draining)
	return plan, wait, nil
}

// backends are those of all pools.
func (t *target) backends(ctx context.Context) ([]view, error) {
	servers, err := t.slots(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]view, 0, len(t.pools))
	for i, p := range t.pools {
		b, err := t.backend(ctx, p, servers[i], false)
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

func (t *target) reread(ctx context.Context, p backendPool) (view, error) {
	servers, err := t.servers(ctx, p)
	if err != nil {
		return view{}, err
	}
	return t.backend(ctx, p, servers, false)
}

func (t *target) servers(ctx context.Context, p backendPool) ([]runtime.Server, error) {
	_, servers, err := t.conn.Look(ctx, p.Backend)
	if err != nil {
		return nil, fmt.Errorf("read the slots of backend %s: %w", p.Backend, err)
	}
	return servers[0], nil
}

// apply sends one plan. What fails is reported and does not stop the rest: one
// bad slot must not hold up the others. The next round repairs what it can.
func (t *target) apply(ctx context.Context, p backendPool, plan pool.Plan) error {
	var failed []error
	send := func(cmds []runtime.Command) error {
		errs, broken := t.conn.Apply(ctx, cmds)
		if broken != nil {
			return broken
		}
		for i, err := range errs {
			t.metrics.operation(p.name, err)
			if err != nil {
				failed = append(failed, err)
			}
			if cmds[i].Hidden() {
				delete(t.known, p.Backend)
			}
		}
		t.notices.commands(p, cmds, errs)
		return nil
	}
	for _, cmds := range [][]runtime.Command{plan.Out, plan.Fill} {
		if err := send(cmds); err != nil {
			return err
		}
	}
	ready, err := t.verified(ctx, p, plan)
	if err != nil {
		return err
	}
	var in []runtime.Command
	for _, slot := range ready {
		in = append(in, slot.Commands()...)
	}
	for _, cmds := range [][]runtime.Command{in, plan.Live, plan.Leave} {
		if err := send(cmds); err != nil {
			return err
		}
	}
	if len(ready) < len(plan.In) {
		failed = append(failed, fmt.Errorf("%d filled slots do not show their address and stay out", len(plan.In)-len(ready)))
	}
	return errors.Join(failed...)
}

// verified reads filled slots back and returns those to put in service: the ones
// whose address is what was asked for.
func (t *target) verified(ctx context.Context, p backendPool, plan pool.Plan) ([]pool.In, error) {
	if len(plan.In) == 0 || len(plan.Fill) == 0 {
		return plan.In, nil
	}
	for deadline := time.Now().Add(settle); ; {
		servers, err := t.servers(ctx, p)
		if err != nil {
			return nil, err
		}
		shown := make(map[runtime.SlotID]runtime.Server, len(servers))
		for _, s := range servers {
			shown[s.ID] = s
		}
		var ready []pool.In
		for _, in := range plan.In {
			if shown[in.Slot].Addr == in.Addr {
				ready = append(ready, in)
			}
		}
		if len(ready) == len(plan.In) || time.Now().After(deadline) {
			return ready, nil
		}
		sleep(ctx, settle/10)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// drift counts and tells what somebody else has changed in HAProxy.
func (t *target) drift(p backendPool, plan pool.Plan) {
	n := len(plan.Commands())
	t.metrics.drift.WithLabelValues(p.name).Add(float64(n))
	t.log.Warn("slots were not as they were left; putting them back", "pool", p.name, "commands", n)
}

// report counts a pool that is in line, and says which nodes found no slot.
func (t *target) report(p backendPool, nodes []pool.Node, b pool.Backend, plan pool.Plan) {
	t.metrics.pool(t.socket, p.name, nodes, b.Slots, plan)
	t.notices.waiting(p, plan.Waiting)
	text := ""
	if n := len(plan.Waiting); n > 0 {
		text = fmt.Sprintf("pool %s: %d nodes wait for a slot, the first is %s", p.name, n, plan.Waiting[0].ID)
	}
	t.haproxy.detail("waiting in "+p.name, text)
}
