package mirror

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/status"
)

// Status reads what HAProxy says now, beside the snapshot. listed is false when Consul could not be asked.
func (m *Mirror) Status(ctx context.Context, snap registry.Snapshot, listed bool) (status.HAProxy, error) {
	defer m.session.drop()
	return m.session.status(ctx, snap, listed, func(p Pool, servers []haproxy.Server) (pool.Backend, []haproxy.CheckedServer, error) {
		v, err := m.session.view(ctx, p, servers, true)
		if err != nil {
			return v.Backend, nil, err
		}
		checks, err := m.session.checks(ctx, p)
		return v.Backend, checks, err
	})
}

// Slots reads which node has which slot, over a connection of its own and without what is expensive to read: limits and
// running requests are missing.
func Slots(ctx context.Context, opts Options, dial Dialer, snap registry.Snapshot) (status.HAProxy, error) {
	s := newSession(dial, opts)
	defer s.drop()
	return s.status(ctx, snap, true, func(p Pool, servers []haproxy.Server) (pool.Backend, []haproxy.CheckedServer, error) {
		return pool.Backend{Name: p.Backend.String(), Slots: slots(servers)}, nil, nil
	})
}

// status reads what HAProxy says, with what read makes of a pool's servers.
func (s *session) status(
	ctx context.Context, snap registry.Snapshot, listed bool,
	read func(Pool, []haproxy.Server) (pool.Backend, []haproxy.CheckedServer, error),
) (status.HAProxy, error) {
	st := status.HAProxy{Socket: s.opts.Socket, Pools: []status.Pool{}}
	servers, err := s.observe(ctx)
	st.Version, st.Pid, st.Started = s.version, s.worker.Pid, s.worker.StartTime()
	for i := 0; err == nil && i < len(s.pools); i++ {
		var b pool.Backend
		var checks []haproxy.CheckedServer
		if b, checks, err = read(s.pools[i], servers[i]); err == nil {
			one := poolStatus(s.pools[i], snap.Nodes, b, listed)
			explain(one.Nodes, checks)
			st.Pools = append(st.Pools, one)
		}
	}
	if err != nil {
		st.Error = err.Error()
	}
	return st, err
}

// explain says of the nodes what HAProxy's own checks have to do with it.
func explain(nodes []status.Node, checks []haproxy.CheckedServer) {
	bySlot := make(map[string]haproxy.CheckedServer, len(checks))
	for _, c := range checks {
		bySlot[c.ID.Name()] = c
	}
	for i := range nodes {
		n := &nodes[i]
		if c, ok := bySlot[n.Slot]; ok && n.HAProxy == "down" && c.Failed() {
			n.HAProxy, n.Reason = "ejected", c.Reason
		}
	}
}

func poolStatus(p Pool, all []registry.Node, b pool.Backend, listed bool) status.Pool {
	st := status.Pool{Name: p.Name, Backend: b.Name, Slots: len(b.Slots), Nodes: nodeStatus(p, all, b, listed)}
	for _, s := range b.Slots {
		if s.Free() {
			st.Free++
		}
	}
	return st
}

// nodeStatus lists the pool's nodes, and the slots that nobody is registered for.
func nodeStatus(p Pool, all []registry.Node, b pool.Backend, listed bool) []status.Node {
	slots := pool.Assigned(p.members(all, 100), b)
	list, registered := []status.Node{}, map[netip.AddrPort]bool{}
	for _, n := range all {
		if !slices.Contains(n.Pools, p.Name) {
			continue
		}
		st := status.Node{
			ID: n.ID, Host: n.Host.String(), Address: n.Addr.String(), Consul: n.Health.String(), Registered: n.Registered(), HAProxy: "no slot",
		}
		if s, ok := slots[n.Addr]; ok {
			fill(&st, s)
			registered[n.Addr] = true
		}
		list = append(list, st)
	}
	nobody := "unknown"
	if listed {
		nobody = "not registered"
	}
	for addr, s := range slots {
		if registered[addr] {
			continue
		}
		st := status.Node{Address: addr.String(), Consul: nobody}
		fill(&st, s)
		list = append(list, st)
	}
	slices.SortFunc(list, func(a, b status.Node) int {
		return cmp.Or(strings.Compare(a.ID, b.ID), strings.Compare(a.Address, b.Address))
	})
	return list
}

func fill(st *status.Node, s pool.Slot) {
	st.Slot, st.HAProxy = s.ID.Name(), string(s.State)
	if s.State == haproxy.Ready && !s.Up {
		st.HAProxy = "down"
	}
	if s.State == haproxy.Ready && s.CheckDisabled {
		st.Reason = "without HAProxy's check, which would have ejected too many"
	}
	st.Weight, st.MaxConn, st.Sessions, st.ChangedSeconds = s.Weight, s.MaxConn, s.Busy, int(s.Since.Seconds())
}

// Plan prints what a reconciliation would tell HAProxy now, and changes nothing, neither in HAProxy nor in the mirror. It
// returns true when that is anything at all. Later steps of the reconciliation, such as freeing a slot that has drained, are
// not foreseen.
func (m *Mirror) Plan(ctx context.Context, snap registry.Snapshot, w io.Writer) (bool, error) {
	defer m.session.drop()
	views, err := m.session.views(ctx)
	if err != nil {
		return false, fmt.Errorf("%s: %w", m.opts.Socket, err)
	}
	d := m.guard.decide(snap, views, m.clock.Now())
	if d.confirm {
		second, err := m.source.Confirm(ctx)
		if err == nil {
			snap = second
		}
		d = m.guard.answered(second, err, m.clock.Now()).decide(snap, views, m.clock.Now())
	}
	if d.next.holding != "" {
		_, _ = fmt.Fprintf(w, "most nodes would leave, and are kept: %s\n", d.next.holding)
	}
	dry := newReconciler(m.opts, m.clock, m.session, report{Discard{}, m.notices}, newEjections(100, nil, report{}))
	changes := false
	for i, p := range m.opts.Pools {
		plan, _, err := dry.plan(ctx, p, d.nodes[i], &views[i])
		if err != nil {
			return changes, fmt.Errorf("%s: %w", m.opts.Socket, err)
		}
		for _, cmd := range plan.Commands() {
			_, _ = fmt.Fprintf(w, "pool %s: %s\n", p.Name, cmd)
			changes = true
		}
		for _, id := range plan.Held {
			_, _ = fmt.Fprintf(w, "pool %s: %s should leave, and stays until what replaces it is up in HAProxy\n", p.Name, id)
			changes = true
		}
		for _, n := range plan.Waiting {
			_, _ = fmt.Fprintf(w, "pool %s: node %s waits for a slot\n", p.Name, n.ID)
		}
	}
	if !changes {
		_, _ = fmt.Fprintf(w, "%s: nothing to change\n", m.opts.Socket)
	}
	return changes, nil
}
