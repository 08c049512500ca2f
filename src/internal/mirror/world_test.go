package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/connstatus"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy/haproxytest"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

const sniPath = "/var/lib/haproxy/iri_back.sni"

// world is a mirror between a registry and a HAProxy of the test's own.
type world struct {
	*Mirror
	t        *testing.T
	haproxy  *haproxytest.HAProxy
	source   *source
	clock    autoClock
	observer *recorder
	log      *bytes.Buffer
	schedule schedule
	// answers are the nodes that answer a probe.
	answers map[netip.AddrPort]bool
	// probeTakes is how long a node takes to answer a probe, in real time.
	probeTakes time.Duration
}

func newWorld(t *testing.T, change ...func(*world, *Options)) *world {
	t.Helper()
	w := &world{
		t: t, haproxy: haproxytest.New(), source: &source{}, clock: autoClock{clockwork.NewFakeClock()}, observer: &recorder{}, log: &bytes.Buffer{},
	}
	w.haproxy.AddBackend("iri_back", haproxytest.Template{Prefix: "http", Slots: 8}, haproxytest.Template{Prefix: "https", Slots: 4},
		haproxytest.Template{Prefix: "https-noverify", Slots: 4})
	w.haproxy.AddBackend("iri_pow_back", haproxytest.Template{Prefix: "http", Slots: 4, MaxConn: 1})
	w.haproxy.AddMap(sniPath)
	opts := Options{
		Socket: filepath.Join(t.TempDir(), "admin.sock"), WarningPercent: 25, GuardPercent: 50, MaxEjectedPercent: 50, DrainTimeout: time.Minute, ResyncInterval: 30 * time.Second,
		Pools: []Pool{
			{Name: "default", Backend: backendName(t, "iri_back"), SNIMap: path(t, sniPath)},
			{Name: "pow", Backend: backendName(t, "iri_pow_back"), MaxConn: 1},
		},
	}
	for _, c := range change {
		c(w, &opts)
	}
	log := hclog.New(&hclog.LoggerOptions{Output: w.log})
	dial := func(ctx context.Context) (Conn, error) {
		c, err := w.haproxy.Dial(ctx)
		if err != nil {
			return nil, err
		}
		return c, nil
	}
	w.Mirror = New(opts, dial, w.probe, w.source, log, w.clock, connstatus.New("HAProxy", log, w.clock), w.observer)
	w.lock = func(context.Context) (func(), error) { return func() {}, nil }
	return w
}

func (w *world) probe(ctx context.Context, in pool.In) error {
	if w.probeTakes > 0 {
		select {
		case <-ctx.Done(): // whoever asks has given up already
			return ctx.Err()
		case <-time.After(w.probeTakes):
		}
	}
	if !w.answers[in.Addr] {
		return errNoAnswer
	}
	return nil
}

func backendName(t *testing.T, name string) haproxy.BackendName {
	t.Helper()
	b, err := haproxy.NewBackendName(name)
	require.NoError(t, err)
	return b
}

func path(t *testing.T, text string) haproxy.Path {
	t.Helper()
	p, err := haproxy.NewPath(text)
	require.NoError(t, err)
	return p
}

// set makes the snapshot of these nodes the present one.
func (w *world) set(nodes ...registry.Node) {
	w.snapshot = registry.Snapshot{Nodes: nodes, Complete: true, Seen: w.clock.Now(), Epoch: w.snapshot.Epoch}
	w.source.snap = w.snapshot
	w.received, w.schedule.due = true, reasonSnapshot
}

// step is one turn of the loop, as far as something is due.
func (w *world) step() {
	if w.schedule.due == reasonNone {
		w.schedule.due = w.look(w.t.Context(), w.schedule)
	}
	if w.schedule.due != reasonNone {
		w.schedule = w.turn(w.t.Context(), w.schedule)
	}
}

// settle steps until HAProxy is in line.
func (w *world) settle() {
	w.t.Helper()
	for range 8 {
		w.step()
		if w.schedule.due == reasonNone {
			return
		}
	}
	w.t.Fatalf("not in line after 8 turns:\n%s", w.log)
}

// advance moves the clock.
func (w *world) advance(d time.Duration) { w.clock.Advance(d) }

// autoClock is a fake clock that whoever waits moves forward: a wait takes no time.
type autoClock struct{ *clockwork.FakeClock }

// NewTimer makes a timer that has fired.
func (c autoClock) NewTimer(d time.Duration) clockwork.Timer {
	timer := c.FakeClock.NewTimer(d)
	c.Advance(d)
	return timer
}

// requireInLine compares what serves with the nodes that should.
func (w *world) requireInLine(nodes ...registry.Node) {
	w.t.Helper()
	require.Empty(w.t, w.haproxy.Misuse())
	for _, p := range w.opts.Pools {
		want := map[netip.AddrPort]pool.Node{}
		for _, n := range p.members(nodes, w.opts.WarningPercent) {
			if n.Health.Serves() {
				want[n.Addr] = n
			}
		}
		got := w.haproxy.Serving(p.Backend.String())
		require.Len(w.t, got, len(want), "pool %s: %v", p.Name, got)
		for addr, n := range want {
			s := got[addr]
			require.NotNil(w.t, s, "%s in pool %s", addr, p.Name)
			require.Equal(w.t, [2]int{n.Weight, n.MaxConn}, [2]int{s.Weight, s.MaxConn}, "weight and maxconn of %s in pool %s", addr, p.Name)
			require.True(w.t, strings.HasPrefix(s.ID.Name(), n.TLS.Prefix()), "%s is in %s", addr, s.ID)
		}
	}
}

// node makes a node of the default pool, "10.0.0.1" or "10.0.0.1:80".
func node(addr string, change ...func(*registry.Node)) registry.Node {
	if !strings.Contains(addr, ":") {
		addr += ":14265"
	}
	n := registry.Node{Node: pool.Node{ID: addr, Addr: netip.MustParseAddrPort(addr), Weight: 1}, Pools: []string{"default"}}
	for _, c := range change {
		c(&n)
	}
	return n
}

func nodes(from, to int, change ...func(*registry.Node)) []registry.Node {
	var all []registry.Node
	for i := from; i <= to; i++ {
		all = append(all, node(fmt.Sprintf("10.0.0.%d", i), change...))
	}
	return all
}

func health(h pool.Health) func(*registry.Node) { return func(n *registry.Node) { n.Health = h } }
func weight(i int) func(*registry.Node)         { return func(n *registry.Node) { n.Weight = i } }
func tls(t pool.TLS) func(*registry.Node)       { return func(n *registry.Node) { n.TLS = t } }
func in(pools ...string) func(*registry.Node)   { return func(n *registry.Node) { n.Pools = pools } }

func named(name string) func(*registry.Node) {
	return func(n *registry.Node) {
		host, err := haproxy.NewHostname(name)
		if err != nil {
			panic(err)
		}
		n.SNI = host
	}
}

// source answers with its snapshots.
type source struct {
	snap, second       registry.Snapshot
	saved              *registry.Snapshot
	err, confirmErr    error
	confirms, restarts int
}

func (s *source) Once(context.Context) (registry.Snapshot, error) { return s.snap, s.err }

func (s *source) Confirm(context.Context) (registry.Snapshot, error) {
	s.confirms++
	return s.second, s.confirmErr
}

func (s *source) Restart() { s.restarts++ }

func (s *source) Saved() (registry.Snapshot, bool) {
	if s.saved == nil {
		return registry.Snapshot{}, false
	}
	return *s.saved, true
}

var errNoAnswer = errors.New("no answer")

// recorder keeps what an observer is told.
type recorder struct {
	Discard
	executed, refused, drifted int
	guarded                    []GuardResult
	holding                    bool
	failed, succeeded          int
	converged                  int
	applied                    []registry.Snapshot
	retries                    map[netip.AddrPort]int
	checks                     PoolChecks
	ejected                    []string
}

func (r *recorder) Executed(_ string, err error) {
	r.executed++
	if err != nil {
		r.refused++
	}
}
func (r *recorder) Drifted(_ string, n int)     { r.drifted += n }
func (r *recorder) Guarded(g GuardResult)       { r.guarded = append(r.guarded, g) }
func (r *recorder) Holding(h bool)              { r.holding = h }
func (r *recorder) Applied(s registry.Snapshot) { r.applied = append(r.applied, s) }
func (r *recorder) Converged(time.Duration)     { r.converged++ }
func (r *recorder) Ejected(pool string, node netip.AddrPort, code string) {
	r.ejected = append(r.ejected, pool+" "+node.String()+" "+code)
}

func (r *recorder) Checked(pool string, c PoolChecks) {
	if pool != "default" {
		return
	}
	r.checks = c
	if r.retries == nil {
		r.retries = map[netip.AddrPort]int{}
	}
	for addr, n := range c.Retries {
		r.retries[addr] += n
	}
}

func (r *recorder) Reconciled(_ time.Duration, err error) {
	if err != nil {
		r.failed++
	} else {
		r.succeeded++
	}
}

// lockFunc is a lock that says whether it is held.
func lockFunc(held *bool) func(context.Context) (func(), error) {
	return func(context.Context) (func(), error) {
		*held = true
		return func() { *held = false }, nil
	}
}

// lockedSource calls check before each confirmation.
type lockedSource struct {
	*source
	check func()
}

func (s lockedSource) Confirm(ctx context.Context) (registry.Snapshot, error) {
	s.check()
	return s.source.Confirm(ctx)
}

// countedSource calls count before each query.
type countedSource struct {
	*source
	count func()
}

func (s countedSource) Once(ctx context.Context) (registry.Snapshot, error) {
	s.count()
	return s.source.Once(ctx)
}
