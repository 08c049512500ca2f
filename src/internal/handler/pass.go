package handler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/runtime"
)

const (
	// rounds bounds how often one pass plans again what it has read back. Three
	// are needed at most: a node that moves goes in, its old slot drains, the
	// slot is freed.
	rounds = 5
	// settle is how long HAProxy may take to show an address that it accepted.
	settle = 200 * time.Millisecond
)

// outcome is what a pass leaves behind.
type outcome struct {
	worker   runtime.Worker
	draining int
}

// pass brings both backends in line with the nodes. It is safe to call from
// several processes at once. On an error the slots are as HAProxy has them, and
// the next pass goes on from there.
func (h *Handler) pass(ctx context.Context, nodes []registry.Node) (outcome, error) {
	unlock, err := lock(ctx, h.cfg.HAProxy.AdminSocket)
	if err != nil {
		return outcome{}, err
	}
	defer unlock()
	return h.passLocked(ctx, nodes)
}

func (h *Handler) passLocked(ctx context.Context, nodes []registry.Node) (outcome, error) {
	conn, err := runtime.Dial(ctx, h.cfg.HAProxy.AdminSocket)
	if err != nil {
		return outcome{}, err
	}
	defer func() { _ = conn.Close() }()
	info, err := conn.Info(ctx)
	if err != nil {
		return outcome{}, err
	}
	if info.Stopping {
		return outcome{}, errors.New("this HAProxy worker is stopping; waiting for the new one")
	}
	out := outcome{worker: info.Worker}
	var errs []error
	for _, p := range h.pools {
		draining, err := h.align(ctx, conn, p, p.members(nodes))
		out.draining += draining
		errs = append(errs, err)
	}
	return out, errors.Join(errs...)
}

// backendPool is one pool and its rule of membership.
type backendPool struct {
	name string
	PoolConfig
	has func(registry.Node) bool
}

func pools(cfg PoolsConfig) []backendPool {
	return []backendPool{
		{"default", cfg.Default, func(n registry.Node) bool { return n.Default }},
		{"pow", cfg.PoW, func(n registry.Node) bool { return n.PoW }},
	}
}

// members are the pool's nodes, with its default limit where they set none.
func (p backendPool) members(all []registry.Node) []pool.Node {
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
	return nodes
}

// align plans and applies until nothing is left to do: the last plan, made from
// what HAProxy then says, is the proof that the changes have arrived. It
// returns how many slots still drain.
func (h *Handler) align(ctx context.Context, conn *runtime.Conn, p backendPool, nodes []pool.Node) (int, error) {
	for range rounds {
		slots, err := h.slots(ctx, conn, p)
		if err != nil {
			return 0, err
		}
		plan := pool.Make(nodes, slots)
		h.drains.update(p.Backend, plan.Draining)
		if plan.Empty() {
			h.report(p, nodes, slots, plan)
			return len(plan.Draining), nil
		}
		if err := h.apply(ctx, conn, p, plan); err != nil {
			return len(plan.Draining), fmt.Errorf("backend %s: %w", p.Backend, err)
		}
	}
	return 0, fmt.Errorf("backend %s: HAProxy does not keep what it is told; is another program changing its slots?", p.Backend)
}

// slots reads a backend's slots as a plan needs them.
func (h *Handler) slots(ctx context.Context, conn *runtime.Conn, p backendPool) ([]pool.Slot, error) {
	servers, err := conn.Servers(ctx, p.Backend)
	if err != nil {
		return nil, fmt.Errorf("read the slots of backend %s: %w", p.Backend, err)
	}
	slots := make([]pool.Slot, 0, len(servers))
	for _, s := range servers {
		slot, ours := pool.NewSlot(s)
		if !ours {
			continue
		}
		slot.Expired = h.drains.expired(s.ID, h.cfg.DrainTimeout)
		slots = append(slots, slot)
	}
	if len(slots) == 0 {
		return nil, fmt.Errorf("backend %s has no slots: its server-templates must be called http, https or https-noverify", p.Backend)
	}
	return slots, nil
}

// apply sends one plan. What fails is reported and does not stop the rest: one
// bad slot must not hold up the others. The next round repairs what it can.
func (h *Handler) apply(ctx context.Context, conn *runtime.Conn, p backendPool, plan pool.Plan) error {
	var failed []error
	send := func(cmds []runtime.Command) error {
		errs, broken := conn.Apply(ctx, cmds)
		if broken != nil {
			return broken
		}
		for _, err := range errs {
			h.metrics.operation(p.name, err)
			if err != nil {
				failed = append(failed, err)
			}
		}
		h.notices.commands(p, cmds, errs)
		return nil
	}
	if err := send(plan.Out); err != nil {
		return err
	}
	if err := send(plan.Fill); err != nil {
		return err
	}
	ready, err := h.verified(ctx, conn, p, plan.In)
	if err != nil {
		return err
	}
	for _, cmds := range [][]runtime.Command{ready, plan.Live, plan.Leave} {
		if err := send(cmds); err != nil {
			return err
		}
	}
	if len(ready) < len(plan.In) {
		failed = append(failed, fmt.Errorf("%d filled slots do not show their address and stay out", len(plan.In)-len(ready)))
	}
	return errors.Join(failed...)
}

// verified reads the filled slots back and returns the commands that put those
// in service whose address is what was asked for.
func (h *Handler) verified(ctx context.Context, conn *runtime.Conn, p backendPool, want []pool.In) ([]runtime.Command, error) {
	if len(want) == 0 {
		return nil, nil
	}
	for deadline := time.Now().Add(settle); ; {
		servers, err := conn.Servers(ctx, p.Backend)
		if err != nil {
			return nil, fmt.Errorf("read back: %w", err)
		}
		shown := make(map[runtime.SlotID]runtime.Server, len(servers))
		for _, s := range servers {
			shown[s.ID] = s
		}
		var ready []runtime.Command
		for _, in := range want {
			if shown[in.Slot].Addr == in.Addr {
				ready = append(ready, runtime.SetState(in.Slot, runtime.Ready))
			}
		}
		if len(ready) == len(want) || time.Now().After(deadline) {
			return ready, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(settle / 10):
		}
	}
}
