package mirror

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

// serving makes a world in which eight nodes serve, and returns it with its backends.
func serving(t *testing.T) (*world, []view) {
	t.Helper()
	w := newWorld(t)
	w.set(nodes(1, 8)...)
	w.settle()
	views, err := w.session.views(t.Context())
	require.NoError(t, err)
	return w, views
}

func TestTheGuardDecides(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	seen := now.Add(-time.Second)
	snapshot := func(change func(*registry.Snapshot), nodes ...registry.Node) registry.Snapshot {
		s := registry.Snapshot{Nodes: nodes, Seen: seen, Complete: true, Epoch: 1}
		if change != nil {
			change(&s)
		}
		return s
	}
	newEpoch := func(s *registry.Snapshot) { s.Epoch = 2 }
	unconfirmed := "Consul does not confirm it: no answer"
	for name, test := range map[string]struct {
		guard              guard
		snap               registry.Snapshot
		stay               int // of the eight nodes that serve
		confirm, undecided bool
		holding            string
		epoch              int
	}{
		"few leave":          {snap: snapshot(nil, nodes(1, 6)...), stay: 6, epoch: 1},
		"half of them leave": {snap: snapshot(nil, nodes(1, 4)...), stay: 4, epoch: 1},
		"most leave":         {snap: snapshot(nil, nodes(1, 3)...), stay: 8, confirm: true, undecided: true, epoch: 1},
		"most fail": {
			snap: snapshot(nil, append(nodes(1, 5, health(pool.Critical)), nodes(6, 8)...)...),
			stay: 8, confirm: true, undecided: true, epoch: 1,
		},
		"most leave, and Consul has confirmed it": {
			guard: guard{confirmed: seen}, snap: snapshot(nil, nodes(1, 3)...), stay: 3, epoch: 1,
		},
		"most leave, and another snapshot was confirmed": {
			guard: guard{confirmed: seen.Add(-time.Hour)}, snap: snapshot(nil, nodes(1, 3)...), stay: 8, confirm: true, undecided: true, epoch: 1,
		},
		"most leave, and a confirmation has just failed": {
			guard: guard{holding: unconfirmed, tried: now.Add(-confirmInterval + 1)}, snap: snapshot(nil, nodes(1, 3)...),
			stay: 8, undecided: true, holding: unconfirmed, epoch: 1,
		},
		"most leave, and a confirmation has failed some time ago": {
			guard: guard{holding: unconfirmed, tried: now.Add(-confirmInterval)}, snap: snapshot(nil, nodes(1, 3)...),
			stay: 8, confirm: true, undecided: true, epoch: 1,
		},
		"most are missing in a new epoch": {
			snap: snapshot(newEpoch, nodes(1, 3)...), stay: 8, holding: lostData, epoch: 1,
		},
		"most fail in a new epoch": {
			snap: snapshot(newEpoch, nodes(1, 8, health(pool.Critical))...), stay: 8, confirm: true, undecided: true, holding: lostData, epoch: 1,
		},
		"most fail in a new epoch, and Consul has confirmed it": {
			guard: guard{confirmed: seen}, snap: snapshot(newEpoch, nodes(1, 5, health(pool.Critical))...), stay: 3, holding: lostData, epoch: 1,
		},
		"few are missing in a new epoch": {snap: snapshot(newEpoch, nodes(1, 7)...), stay: 7, epoch: 2},
		"few leave, and a name is not resolved yet": {
			snap: snapshot(func(s *registry.Snapshot) { s.Complete = false }, nodes(1, 6)...), stay: 8, epoch: 1,
		},
		"most leave, Consul has confirmed it, and a name is not resolved yet": {
			guard: guard{confirmed: seen}, snap: snapshot(func(s *registry.Snapshot) { s.Complete = false }, nodes(1, 3)...), stay: 8, epoch: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, views := serving(t)
			g := test.guard
			g.opts, g.epoch = w.opts, 1
			d := g.decide(test.snap, views, now)
			stay := 0
			for _, n := range d.nodes[0] {
				if n.Health.StaysInService() {
					stay++
				}
			}
			assert.Equal(t, test.stay, stay)
			assert.Equal(t, test.confirm, d.confirm)
			assert.Equal(t, test.undecided, d.undecided)
			assert.Equal(t, test.holding, d.next.holding)
			assert.Equal(t, test.epoch, d.next.epoch)
		})
	}
}

func TestTheGuardIsOffAtZeroPercent(t *testing.T) {
	w, views := serving(t)
	g := w.guard
	g.opts.GuardPercent = 0
	d := g.decide(registry.Snapshot{Complete: true}, views, w.clock.Now())
	assert.False(t, d.confirm)
	assert.Empty(t, d.nodes[0])
}

func TestWhatAConfirmationDoes(t *testing.T) {
	few := func(w *world) registry.Snapshot {
		return registry.Snapshot{Nodes: nodes(1, 2), Complete: true, Seen: w.clock.Now()}
	}
	for name, test := range map[string]struct {
		second  func(w *world) (registry.Snapshot, error)
		stay    int
		result  GuardResult
		restart int
	}{
		"the same again": {func(w *world) (registry.Snapshot, error) { return few(w), nil }, 2, Confirmed, 0},
		"all are there": {func(w *world) (registry.Snapshot, error) {
			return registry.Snapshot{Nodes: nodes(1, 8), Complete: true, Seen: w.clock.Now()}, nil
		}, 8, Refuted, 1},
		"no answer": {func(*world) (registry.Snapshot, error) { return registry.Snapshot{}, errNoAnswer }, 8, Kept, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := serving(t)
			w.source.second, w.source.confirmErr = test.second(w)
			w.set(few(w).Nodes...)
			w.settle()
			w.advance(time.Second)
			w.settle()
			assert.Len(t, w.haproxy.Serving("iri_back"), test.stay)
			assert.Equal(t, []GuardResult{test.result}, w.observer.guarded)
			assert.Equal(t, test.restart, w.source.restarts)
			assert.Equal(t, test.result == Kept, w.observer.holding)
		})
	}
}

func TestAHeldSnapshotIsConfirmedAgainUntilConsulAnswers(t *testing.T) {
	w, _ := serving(t)
	w.source.confirmErr = errNoAnswer
	w.set(nodes(1, 2)...)
	w.settle()
	require.Len(t, w.haproxy.Serving("iri_back"), 8)
	require.Contains(t, w.status.Details()[0], "Consul does not confirm it: no answer")
	w.advance(confirmInterval)
	w.settle()
	require.Equal(t, 2, w.source.confirms)
	require.Equal(t, 1, strings.Count(w.log.String(), "most nodes would leave; they are kept in service"))
	w.source.confirmErr, w.source.second = nil, w.snapshot
	w.advance(confirmInterval)
	w.settle()
	assert.Len(t, w.haproxy.Serving("iri_back"), 2)
	assert.False(t, w.observer.holding)
	assert.Empty(t, w.status.Details())
	assert.Contains(t, w.log.String(), "no node is kept in service against Consul's answer any longer")
}

func TestNodesThatConsulHasLostAreKeptUntilTheyAreRegisteredAgain(t *testing.T) {
	w, _ := serving(t)
	w.snapshot.Epoch++
	w.set()
	w.settle()
	require.Len(t, w.haproxy.Serving("iri_back"), 8)
	require.True(t, w.observer.holding)
	require.Zero(t, w.source.confirms, "a second answer of the same Consul proves nothing")
	w.set(nodes(1, 7)...)
	w.settle()
	w.advance(time.Second)
	w.settle()
	assert.Len(t, w.haproxy.Serving("iri_back"), 7)
	assert.False(t, w.observer.holding)
}

func TestTheLockIsFreeWhileConsulIsAsked(t *testing.T) {
	w, _ := serving(t)
	held := false
	w.Mirror.lock = lockFunc(&held)
	w.Mirror.source = lockedSource{w.source, func() { assert.False(t, held) }}
	w.source.confirmErr = errNoAnswer
	w.set(nodes(1, 2)...)
	w.settle()
	assert.Equal(t, 1, w.source.confirms)
}
