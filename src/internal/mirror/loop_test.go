package mirror

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy/socket"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

func TestTheReasonForAReconciliation(t *testing.T) {
	for name, test := range map[string]struct {
		change func(w *world)
		want   reason
	}{
		"nothing has happened":          {func(*world) {}, reasonNone},
		"the resync interval is over":   {func(w *world) { w.advance(w.opts.ResyncInterval) }, reasonResync},
		"something was left for later":  {func(w *world) { w.schedule.deferred = w.clock.Now().Add(-1) }, reasonDeferred},
		"it is left for later":          {func(w *world) { w.schedule.deferred = w.clock.Now().Add(1) }, reasonNone},
		"there is no connection":        {func(w *world) { w.session.drop() }, reasonRetry},
		"HAProxy was reloaded":          {func(w *world) { w.haproxy.Reload(0) }, reasonNewWorker},
		"HAProxy was restarted":         {func(w *world) { w.haproxy.Restart() }, reasonNewWorker},
		"HAProxy does not run any more": {func(w *world) { w.haproxy.Stop() }, reasonNewWorker},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.set(nodes(1, 2)...)
			w.settle()
			test.change(w)
			assert.Equal(t, test.want, w.look(t.Context(), w.schedule))
		})
	}
}

func TestAHAProxyThatIsAwayIsDialledSoonerThanAFailureIsRetried(t *testing.T) {
	w := newWorld(t)
	dial := w.session.dial
	w.session.dial = func(context.Context) (Conn, error) { return nil, fmt.Errorf("%w: refused", socket.ErrNoConnection) }
	w.set(nodes(1, 1)...)
	w.step()
	assert.Equal(t, redialInterval, w.schedule.retryAfter)
	w.session.dial = dial
	w.haproxy.Stop()
	w.step()
	assert.Equal(t, tick, w.schedule.retryAfter)
	assert.Equal(t, 2, w.observer.failed)
}

func TestWhatSomebodyElseChangedIsPutBackAtTheResync(t *testing.T) {
	w := newWorld(t)
	w.set(nodes(1, 3)...)
	w.settle()
	s := w.haproxy.Serving("iri_back")[node("10.0.0.2").Addr]
	s.State, s.Weight = haproxy.Maint, 9
	w.settle()
	require.Equal(t, haproxy.Maint, s.State, "not noticed yet")
	w.advance(w.opts.ResyncInterval)
	w.settle()
	w.requireInLine(nodes(1, 3)...)
	assert.Equal(t, 2, w.observer.drifted)
	assert.Contains(t, w.log.String(), "slots were not as they were left")
}

func TestAfterARestartOfHAProxyAllNodesAreBack(t *testing.T) {
	w := newWorld(t)
	w.set(before()...)
	w.settle()
	w.haproxy.Restart()
	w.settle()
	w.requireInLine(before()...)
	assert.Contains(t, w.log.String(), "HAProxy has a new worker; all slots were compared")
}

func TestAfterAReloadMaxConnIsRestored(t *testing.T) {
	w := newWorld(t)
	limited := node("10.0.0.1", func(n *registry.Node) { n.MaxConn, n.MaxConnSet = 7, true })
	w.set(limited)
	w.settle()
	w.haproxy.Reload(0)
	w.settle()
	w.requireInLine(limited)
}

// loop runs the mirror's loop in a bubble of its own time.
func loop(t *testing.T, test func(w *world), change ...func(*world, *Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, change...)
		real := realClock()
		w.Mirror.clock, w.reconciler.clock = real, real
		ctx, cancel := context.WithCancel(t.Context())
		turns, ended := 0, make(chan struct{})
		go func() {
			w.Run(ctx, func() { turns++ })
			close(ended)
		}()
		test(w)
		cancel()
		<-ended
		assert.Positive(t, turns, "the loop says that it is alive")
	})
}

func TestTheLoopAppliesASnapshotAtOnce(t *testing.T) {
	loop(t, func(w *world) {
		w.Receive(registry.Snapshot{Nodes: nodes(1, 2), Complete: true})
		w.Receive(registry.Snapshot{Nodes: nodes(1, 3), Complete: true})
		synctest.Wait()
		w.requireInLine(nodes(1, 3)...)
		assert.LessOrEqual(w.t, w.observer.converged, 2)
	})
}

func TestTheLoopNoticesTheEndOfHAProxyWithoutAnEvent(t *testing.T) {
	loop(t, func(w *world) {
		w.Receive(registry.Snapshot{Nodes: nodes(1, 3), Complete: true})
		synctest.Wait()
		w.haproxy.Do(w.haproxy.Restart)
		synctest.Wait()
		w.requireInLine(nodes(1, 3)...)
	})
}

func TestTheLoopFindsHAProxyWhenItComesBack(t *testing.T) {
	loop(t, func(w *world) {
		w.Receive(registry.Snapshot{Nodes: nodes(1, 3), Complete: true})
		synctest.Wait()
		w.haproxy.Do(w.haproxy.Stop)
		synctest.Wait()
		time.Sleep(time.Minute)
		w.haproxy.Do(w.haproxy.Restart)
		time.Sleep(tick + 1)
		synctest.Wait()
		w.requireInLine(nodes(1, 3)...)
		assert.Equal(w.t, 1, strings.Count(w.log.String(), "HAProxy failed"), "one line for all that time")
	})
}

func TestTheLoopNoticesAReload(t *testing.T) {
	loop(t, func(w *world) {
		limited := node("10.0.0.1", func(n *registry.Node) { n.MaxConn, n.MaxConnSet = 7, true })
		w.Receive(registry.Snapshot{Nodes: []registry.Node{limited}, Complete: true})
		synctest.Wait()
		w.haproxy.Do(func() { w.haproxy.Reload(0) })
		time.Sleep(tick + 1)
		synctest.Wait()
		w.requireInLine(limited)
	})
}

func TestTheLoopFreesADrainedSlot(t *testing.T) {
	loop(t, func(w *world) {
		w.Receive(registry.Snapshot{Nodes: nodes(1, 2), Complete: true})
		synctest.Wait()
		leaving := w.haproxy.Serving("iri_back")[node("10.0.0.2").Addr]
		w.haproxy.Do(func() { leaving.Busy = 1 })
		w.Receive(registry.Snapshot{Nodes: nodes(1, 1), Complete: true})
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(w.t, haproxy.Drain, leaving.State)
		w.haproxy.Do(func() { leaving.Busy = 0 })
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(w.t, haproxy.Maint, leaving.State)
	})
}

func TestTheLoopWaitsForItsFirstSnapshot(t *testing.T) {
	loop(t, func(w *world) {
		time.Sleep(time.Minute)
		assert.Empty(w.t, w.haproxy.Changes())
	})
}

func TestAHAProxyThatStaysAwayIsOneFailedReconciliation(t *testing.T) {
	w := newWorld(t)
	w.session.dial = func(context.Context) (Conn, error) { return nil, fmt.Errorf("%w: refused", socket.ErrNoConnection) }
	w.set(nodes(1, 1)...)
	for range 100 {
		w.step()
	}
	assert.Equal(t, 1, w.observer.failed)
}

func TestAReloadIsNoticedWhileSomethingIsLeftForLater(t *testing.T) {
	w := newWorld(t)
	w.set(nodes(1, 2)...)
	w.settle()
	w.schedule.deferred = w.clock.Now().Add(-1)
	w.haproxy.Reload(0)
	assert.Equal(t, reasonNewWorker, w.look(t.Context(), w.schedule))
}
