package mirror

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy/haproxytest"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

// before and after are two states of the registry between which every kind of change happens.
func before() []registry.Node {
	return slices.Concat(nodes(1, 4), []registry.Node{
		node("10.0.1.1", tls(pool.Verified), named("a.example")), node("10.0.1.2", tls(pool.Unverified)), node("10.0.2.1", in("default", "pow")),
	})
}

func after() []registry.Node {
	return []registry.Node{
		node("10.0.0.1", weight(7)),                                                               // another weight
		node("10.0.0.2", health(pool.Critical)),                                                   // fails
		node("10.0.0.3", tls(pool.Unverified)),                                                    // another scheme
		node("10.0.0.5"),                                                                          // new; 10.0.0.4 is deregistered
		node("10.0.1.1", tls(pool.Verified), named("b.example")),                                  // another name
		node("10.0.1.2", tls(pool.Unverified), health(pool.Warning)),                              // a smaller share
		node("10.0.2.1", in("pow"), func(n *registry.Node) { n.MaxConn, n.MaxConnSet = 3, true }), // another pool and limit
	}
}

func TestEveryKindOfChangeArrives(t *testing.T) {
	w := newWorld(t)
	w.set(before()...)
	w.settle()
	w.requireInLine(before()...)
	w.set(after()...)
	w.settle()
	w.advance(time.Second)
	w.settle()
	w.requireInLine(after()...)
	assert.Equal(t, 2, w.observer.converged)
	w.haproxy.Changes()
	w.set(after()...)
	w.settle()
	assert.Empty(t, w.haproxy.Changes(), "what is in line is left alone")
}

// interruptions are what can happen before or instead of a command.
func interruptions() map[string]func(h *haproxytest.HAProxy) haproxytest.Fault {
	return map[string]func(h *haproxytest.HAProxy) haproxytest.Fault{
		"refused":         func(*haproxytest.HAProxy) haproxytest.Fault { return haproxytest.Refuse },
		"connection lost": func(*haproxytest.HAProxy) haproxytest.Fault { return haproxytest.Lose },
		"answer lost":     func(*haproxytest.HAProxy) haproxytest.Fault { return haproxytest.LoseAnswer },
		"reloaded":        func(h *haproxytest.HAProxy) haproxytest.Fault { h.Reload(0); return haproxytest.None },
		"restarted":       func(h *haproxytest.HAProxy) haproxytest.Fault { h.Restart(); return haproxytest.None },
	}
}

func TestAfterAnInterruptionAtAnyCommandTheNextReconciliationConverges(t *testing.T) {
	// run goes from before to after and calls interrupt before the k-th command.
	run := func(t *testing.T, k int, interrupt func(*haproxytest.HAProxy) haproxytest.Fault) (commands int) {
		w := newWorld(t)
		w.set(before()...)
		w.settle()
		w.haproxy.Before = func(_ int, _ string) haproxytest.Fault {
			commands++
			if commands-1 == k {
				return interrupt(w.haproxy)
			}
			return haproxytest.None
		}
		w.set(after()...)
		w.step()
		w.haproxy.Before = nil
		w.settle()
		w.advance(2 * time.Minute) // longer than any drain
		w.settle()
		w.requireInLine(after()...)
		return commands
	}
	total := run(t, -1, nil)
	require.Greater(t, total, 20)
	for name, interrupt := range interruptions() {
		t.Run(name, func(t *testing.T) {
			for k := range total {
				run(t, k, interrupt)
			}
		})
	}
}

func TestOneBadSlotDoesNotHoldUpTheOthers(t *testing.T) {
	w := newWorld(t)
	w.haproxy.Before = func(_ int, line string) haproxytest.Fault {
		if strings.Contains(line, " addr 10.0.0.2 ") {
			return haproxytest.Refuse
		}
		return haproxytest.None
	}
	w.set(nodes(1, 3)...)
	w.step()
	serving := w.haproxy.Serving("iri_back")
	assert.Len(t, serving, 2)
	assert.Equal(t, reasonRetry, w.schedule.due)
	assert.Equal(t, 1, w.observer.refused)
	assert.Contains(t, w.status.NotReady(), "Permission denied")
	w.haproxy.Before = nil
	w.settle()
	w.requireInLine(nodes(1, 3)...)
}

func TestAFailingNodeLeavesBeforeANewOneComes(t *testing.T) {
	w := newWorld(t)
	w.set(nodes(1, 2)...)
	w.settle()
	w.haproxy.Changes()
	out := w.haproxy.Serving("iri_back")[node("10.0.0.1").Addr].ID
	w.set(node("10.0.0.1", health(pool.Critical)), node("10.0.0.2"), node("10.0.0.3"))
	w.settle()
	in := w.haproxy.Serving("iri_back")[node("10.0.0.3").Addr].ID
	assert.Equal(t, []string{
		"set server " + out.String() + " state maint",
		"set server " + in.String() + " addr 10.0.0.3 port 14265",
		"set server " + in.String() + " state ready",
	}, w.haproxy.Changes())
}

func TestASlotGoesInOnlyWhenItShowsItsAddress(t *testing.T) {
	w := newWorld(t, func(w *world, _ *Options) {
		// HAProxy accepts the address and does not take it over.
		w.haproxy.Before = func(_ int, line string) haproxytest.Fault {
			if strings.HasPrefix(line, "show servers state") {
				for _, s := range w.haproxy.Servers("iri_back") {
					s.Addr = pool.Placeholder
				}
			}
			return haproxytest.None
		}
	})
	w.set(node("10.0.0.1"))
	w.step()
	assert.Empty(t, w.haproxy.Serving("iri_back"))
	assert.Contains(t, w.status.NotReady(), "do not show their address")
	for _, cmd := range w.haproxy.Changes() {
		assert.NotContains(t, cmd, "state ready")
	}
}

func TestASlotThatHAProxyChecksWaitsForItsCheckWhileAnotherServes(t *testing.T) {
	w := newWorld(t, func(w *world, _ *Options) {
		w.haproxy = haproxytest.New()
		w.haproxy.SlowChecks = true
		w.haproxy.AddBackend("iri_back", haproxytest.Template{Prefix: "http", Slots: 4, Checked: true})
		w.haproxy.AddBackend("iri_pow_back", haproxytest.Template{Prefix: "http", Slots: 4})
		w.haproxy.AddMap(sniPath)
	})
	w.set(node("10.0.0.1"))
	w.settle()
	assert.True(t, w.haproxy.Serving("iri_back")[node("10.0.0.1").Addr].Up, "nobody else serves: Consul's word is enough")
	w.haproxy.Changes()
	w.set(nodes(1, 2)...)
	w.settle()
	second := w.haproxy.Serving("iri_back")[node("10.0.0.2").Addr]
	assert.False(t, second.Up)
	assert.Equal(t, []string{"state drain", "health down", "state ready"}, ends(w.haproxy.Changes()[1:]))
	w.haproxy.PassChecks()
	assert.True(t, second.Up)
}

// ends are the last two words of each command.
func ends(cmds []string) []string {
	var all []string
	for _, cmd := range cmds {
		f := strings.Fields(cmd)
		all = append(all, strings.Join(f[len(f)-2:], " "))
	}
	return all
}

func TestADrainEndsWhenItsLastRequestDoesOrItsTimeIsUp(t *testing.T) {
	for name, test := range map[string]struct {
		then func(w *world, s *haproxy.Server)
		want haproxy.State
	}{
		"a request runs": {func(w *world, _ *haproxy.Server) { w.advance(59 * time.Second) }, haproxy.Drain},
		"it has ended":   {func(w *world, s *haproxy.Server) { s.Busy = 0; w.advance(time.Second) }, haproxy.Maint},
		"the time is up": {func(w *world, _ *haproxy.Server) { w.advance(61 * time.Second) }, haproxy.Maint},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.set(nodes(1, 2)...)
			w.settle()
			leaving := w.haproxy.Serving("iri_back")[node("10.0.0.2").Addr]
			leaving.Busy = 1
			w.set(nodes(1, 1)...)
			w.settle()
			require.Equal(t, haproxy.Drain, leaving.State)
			require.False(t, w.schedule.deferred.IsZero(), "the slot is looked at again")
			test.then(w, leaving)
			w.settle()
			assert.Equal(t, test.want, leaving.State)
		})
	}
}

func TestDrainsAreForgottenWhenTheyEnd(t *testing.T) {
	a, err := haproxy.NewServerID("x", "http1")
	require.NoError(t, err)
	b, err := haproxy.NewServerID("y", "http1")
	require.NoError(t, err)
	start := time.Unix(1000, 0)
	d := drains{}
	d.update("x", []haproxy.ServerID{a}, start)
	d.update("y", []haproxy.ServerID{b}, start)
	d.update("x", []haproxy.ServerID{a}, start.Add(time.Minute))
	assert.False(t, d.expired(a, time.Hour, start.Add(59*time.Minute)))
	assert.True(t, d.expired(a, time.Hour, start.Add(time.Hour)), "the clock runs from the first update")
	d.update("x", nil, start)
	assert.False(t, d.expired(a, 0, start))
	assert.True(t, d.expired(b, 0, start), "the other backend's are untouched")
}

func TestNodesThatFindNoSlotAreReportedOnce(t *testing.T) {
	w := newWorld(t)
	w.set(nodes(1, 10)...) // 8 slots
	w.settle()
	w.set(append(nodes(1, 10), node("10.0.9.9", tls(pool.Unverified)))...)
	w.settle()
	assert.Equal(t, 1, strings.Count(w.log.String(), "more nodes than slots"))
	assert.Contains(t, strings.Join(w.status.Details(), ""), "2 nodes wait for a slot")
	w.set(nodes(1, 8)...)
	w.settle()
	assert.Empty(t, w.status.Details())
	assert.Contains(t, w.log.String(), "every node has a slot again")
}

func TestNodesBeyondTheSlotsGetServersOfTheirOwn(t *testing.T) {
	w := newWorld(t, func(_ *world, o *Options) { o.SlotOverflow = true })
	w.set(nodes(1, 10)...)
	w.settle()
	w.requireInLine(nodes(1, 10)...)
	w.set(nodes(1, 8)...)
	w.settle()
	w.advance(time.Second)
	w.settle()
	w.requireInLine(nodes(1, 8)...)
	for _, s := range w.haproxy.Servers("iri_back") {
		assert.NotContains(t, s.ID.Name(), "overflow")
	}
}

func TestABackendWithoutSlotsIsNamed(t *testing.T) {
	w := newWorld(t, func(w *world, _ *Options) {
		w.haproxy = haproxytest.New()
		w.haproxy.AddBackend("iri_back", haproxytest.Template{Prefix: "web", Slots: 2})
		w.haproxy.AddBackend("iri_pow_back", haproxytest.Template{Prefix: "http", Slots: 2})
	})
	w.set(node("10.0.0.1"))
	w.step()
	assert.Contains(t, w.status.NotReady(), "backend iri_back has no slots: its server-templates must be called http, https or https-noverify")
}

func TestHAProxyThatForgetsWhatItIsToldIsReported(t *testing.T) {
	w := newWorld(t)
	w.haproxy.Before = func(_ int, line string) haproxytest.Fault {
		if strings.HasPrefix(line, "show servers state iri_back") {
			for _, s := range w.haproxy.Servers("iri_back") {
				s.Weight = 9
			}
		}
		return haproxytest.None
	}
	w.set(node("10.0.0.1"))
	w.step()
	assert.Contains(t, w.status.NotReady(), "is another program changing its slots?")
}
