package handler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/runtime"
)

// Status is what Consul and every HAProxy say now.
type Status struct {
	Consul  ConsulStatus    `json:"consul"`
	HAProxy []HAProxyStatus `json:"haproxy"`
}

// ConsulStatus is the registry's side.
type ConsulStatus struct {
	Address  string          `json:"address"`
	Service  string          `json:"service"`
	Index    uint64          `json:"index"`
	Problems []ProblemStatus `json:"problems"`
	// Error is why the registry could not be read, "" when it could.
	Error string `json:"error,omitempty"`
}

// ProblemStatus is a service, tag or value that cannot be used.
type ProblemStatus struct {
	Service string `json:"service"`
	Field   string `json:"field"`
	Reason  string `json:"reason"`
}

// HAProxyStatus is one HAProxy process.
type HAProxyStatus struct {
	Socket  string       `json:"socket"`
	Version string       `json:"version,omitempty"`
	Pid     string       `json:"pid,omitempty"`
	Pools   []PoolStatus `json:"pools"`
	Error   string       `json:"error,omitempty"`
}

// PoolStatus is one backend.
type PoolStatus struct {
	Name    string       `json:"name"`
	Backend string       `json:"backend"`
	Slots   int          `json:"slots"`
	Free    int          `json:"free"`
	Nodes   []NodeStatus `json:"nodes"`
}

// NodeStatus is one node of a pool, or a slot that still serves one which is not
// registered any more.
type NodeStatus struct {
	ID      string `json:"id"`
	Host    string `json:"host,omitempty"`
	Address string `json:"address"`
	// Consul is the node's health there, or "not registered", or "unknown" when
	// Consul could not be asked.
	Consul string `json:"consul"`
	// Slot is "" for a node that has none.
	Slot string `json:"slot"`
	// HAProxy is ready, down (by HAProxy's own check), drain or maint.
	HAProxy  string `json:"haproxy"`
	Weight   int    `json:"weight"`
	MaxConn  int    `json:"maxconn"`
	Sessions int    `json:"sessions"`
	// ChangedSeconds is how long ago HAProxy saw the slot change its state.
	ChangedSeconds int `json:"changed_seconds"`
}

// Status asks everybody. The error says who did not answer; the rest is there
// all the same.
func (h *Handler) Status(ctx context.Context) (Status, error) {
	st := Status{Consul: ConsulStatus{Address: h.cfg.Consul.Address, Service: h.cfg.Service, Problems: []ProblemStatus{}}}
	ans, err := h.source.once(ctx)
	errs := []error{err}
	if err != nil {
		st.Consul.Error = err.Error()
	}
	st.Consul.Index = ans.index
	for _, p := range ans.problems {
		st.Consul.Problems = append(st.Consul.Problems, ProblemStatus{p.Service, p.Field, p.Reason})
	}
	for _, t := range h.targets {
		one := HAProxyStatus{Socket: t.socket, Pools: []PoolStatus{}}
		if one.Pools, err = t.status(ctx, ans, st.Consul.Error == ""); err != nil {
			one.Error = err.Error()
			errs = append(errs, err)
		}
		one.Version, one.Pid = t.version, t.worker.Pid
		t.drop()
		st.HAProxy = append(st.HAProxy, one)
	}
	return st, errors.Join(errs...)
}

func (t *target) status(ctx context.Context, ans answer, known bool) ([]PoolStatus, error) {
	servers, err := t.observe(ctx)
	if err != nil {
		return []PoolStatus{}, err
	}
	var pools []PoolStatus
	for i, p := range t.pools {
		b, err := t.backend(ctx, p, servers[i], true)
		if err != nil {
			return pools, err
		}
		st := PoolStatus{Name: p.name, Backend: p.Backend, Slots: len(b.Slots), Nodes: nodeStatus(p, ans.nodes, b.Backend, known)}
		for _, s := range b.Slots {
			if s.State == runtime.Maint && s.Addr == pool.Placeholder {
				st.Free++
			}
		}
		pools = append(pools, st)
	}
	return pools, nil
}

// nodeStatus lists the pool's nodes, and the slots that nobody is registered for.
func nodeStatus(p backendPool, all []registry.Node, b pool.Backend, known bool) []NodeStatus {
	seats := pool.Seats(p.members(all, 100), b)
	list := []NodeStatus{}
	for _, n := range all {
		if !p.has(n) {
			continue
		}
		st := NodeStatus{ID: n.ID, Host: n.Host.String(), Address: n.Addr.String(), Consul: n.Health.String(), HAProxy: "no slot"}
		if s, ok := seats[n.Addr]; ok {
			st.fill(s)
			delete(seats, n.Addr)
		}
		list = append(list, st)
	}
	nobody := "unknown"
	if known {
		nobody = "not registered"
	}
	for addr, s := range seats {
		st := NodeStatus{Address: addr.String(), Consul: nobody}
		st.fill(s)
		list = append(list, st)
	}
	slices.SortFunc(list, func(a, b NodeStatus) int {
		return cmp.Or(strings.Compare(a.ID, b.ID), strings.Compare(a.Address, b.Address))
	})
	return list
}

func (st *NodeStatus) fill(s pool.Slot) {
	st.Slot, st.HAProxy = s.ID.Name(), string(s.State)
	if s.State == runtime.Ready && !s.Up {
		st.HAProxy = "down"
	}
	st.Weight, st.MaxConn, st.Sessions, st.ChangedSeconds = s.Weight, s.MaxConn, s.Busy, int(s.Since.Seconds())
}

// WriteTable prints the status for people.
func (st Status) WriteTable(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(out, "Consul %s, service %s", st.Consul.Address, st.Consul.Service)
	if st.Consul.Error != "" {
		_, _ = fmt.Fprintf(out, ": %s\n", st.Consul.Error)
	} else {
		_, _ = fmt.Fprintf(out, ", index %d\n", st.Consul.Index)
	}
	for _, p := range st.Consul.Problems {
		_, _ = fmt.Fprintf(out, "  problem with %s, %s: %s\n", p.Service, p.Field, p.Reason)
	}
	for _, h := range st.HAProxy {
		h.writeTable(out)
	}
	return out.Flush()
}

func (h HAProxyStatus) writeTable(out io.Writer) {
	if h.Error != "" {
		_, _ = fmt.Fprintf(out, "HAProxy %s: %s\n", h.Socket, h.Error)
	} else {
		_, _ = fmt.Fprintf(out, "HAProxy %s, version %s, pid %s\n", h.Socket, h.Version, h.Pid)
	}
	for _, p := range h.Pools {
		_, _ = fmt.Fprintf(out, "\nPool %s (backend %s): %d of %d slots free\n", p.Name, p.Backend, p.Free, p.Slots)
		if len(p.Nodes) == 0 {
			_, _ = fmt.Fprintln(out, "no nodes")
			continue
		}
		_, _ = fmt.Fprintln(out, "NODE\tADDRESS\tCONSUL\tSLOT\tHAPROXY\tWEIGHT\tMAXCONN\tSESSIONS\tCHANGED")
		for _, n := range p.Nodes {
			n.writeRow(out)
		}
	}
}

func (st NodeStatus) writeRow(out io.Writer) {
	address := st.Address
	if st.Host != "" {
		address = st.Host + " " + address
	}
	if st.Slot == "" {
		_, _ = fmt.Fprintf(out, "%s\t%s\t%s\t-\t%s\t-\t-\t-\t-\n", orDash(st.ID), address, st.Consul, st.HAProxy)
		return
	}
	limit := "none"
	if st.MaxConn > 0 {
		limit = fmt.Sprint(st.MaxConn)
	}
	_, _ = fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%d\t%ds ago\n", orDash(st.ID), address, st.Consul, st.Slot, st.HAProxy,
		st.Weight, limit, st.Sessions, st.ChangedSeconds)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// Plan prints what a pass would tell HAProxy now, and changes nothing. It
// returns true when that is anything at all. Later rounds of the pass, such as
// freeing a slot that has drained, are not foreseen.
func (h *Handler) Plan(ctx context.Context, w io.Writer) (bool, error) {
	ans, err := h.source.once(ctx)
	if err != nil {
		return false, err
	}
	for _, p := range ans.problems {
		_, _ = fmt.Fprintf(w, "problem with %s, %s: %s\n", p.Service, p.Field, p.Reason)
	}
	changes := false
	for _, t := range h.targets {
		t.ans = ans
		some, err := t.preview(ctx, w)
		t.drop()
		if err != nil {
			return changes, fmt.Errorf("%s: %w", t.socket, err)
		}
		changes = changes || some
	}
	return changes, nil
}

func (t *target) preview(ctx context.Context, w io.Writer) (bool, error) {
	backends, err := t.backends(ctx)
	if err != nil {
		return false, err
	}
	wanted, _ := t.decide(ctx, backends)
	changes := false
	for i, p := range t.pools {
		plan, _, err := t.plan(ctx, p, wanted[i], &backends[i])
		if err != nil {
			return changes, err
		}
		for _, cmd := range plan.Commands() {
			_, _ = fmt.Fprintf(w, "pool %s: %s\n", p.name, cmd)
			changes = true
		}
		for _, n := range plan.Waiting {
			_, _ = fmt.Fprintf(w, "pool %s: node %s waits for a slot\n", p.name, n.ID)
		}
	}
	if !changes {
		_, _ = fmt.Fprintf(w, "%s: nothing to change\n", t.socket)
	}
	return changes, nil
}
