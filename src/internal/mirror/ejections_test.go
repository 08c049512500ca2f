package mirror

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy/haproxytest"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

// behind is the result of a check of a node that has fallen behind.
var behind = haproxytest.Check{Status: "L7RSP", Desc: "Layer7 invalid response", Last: "behind by 10 milestones"}

// checkedWorld has so many nodes in service, which HAProxy checks.
func checkedWorld(t *testing.T, count int, change ...func(*world, *Options)) *world {
	t.Helper()
	w := newWorld(t, append([]func(*world, *Options){checked}, change...)...)
	w.probeTakes = 100 * time.Microsecond
	w.set(nodes(1, count)...)
	w.settle()
	w.haproxy.PassChecks()
	w.poll()
	w.haproxy.Changes()
	return w
}

// poll is one turn of the loop, a tick later. Nodes that are queried have answered at its end.
func (w *world) poll() {
	w.advance(tick)
	if w.schedule.due != reasonNone && w.session.conn != nil {
		w.followChecks(w.t.Context()) // as at every tick
	}
	w.step()
	w.ejections.prober.group.Wait()
	w.prover.group.Wait()
}

// polls lets so much time pass.
func (w *world) polls(d time.Duration) {
	for range d / tick {
		w.poll()
	}
}

func (w *world) slot(addr string) *haproxy.Server {
	w.t.Helper()
	s := w.haproxy.Serving("iri_back")[node(addr).Addr]
	require.NotNil(w.t, s, addr)
	return s
}

// eject makes HAProxy's own check of a node fail.
func (w *world) eject(addr string, c haproxytest.Check) { w.haproxy.Eject(w.slot(addr).ID.String(), c) }

func (w *world) logged(text string) int { return strings.Count(w.log.String(), text) }

const (
	ejectedLine  = "a node is ejected by HAProxy's check"
	returnedLine = "a node has returned"
)

func TestAnEjectionAndTheReturnAreToldOnce(t *testing.T) {
	w := checkedWorld(t, 4)
	w.eject("10.0.0.2", haproxytest.Check{Status: "L7RSP", Desc: "Layer7 invalid response", Last: "behind by \"10\", \x1b[31m\nmore" + strings.Repeat("x", 500)})
	w.polls(5 * time.Second)
	assert.Equal(t, 1, w.logged(ejectedLine))
	assert.Contains(t, w.log.String(), "node=10.0.0.2:14265 address=10.0.0.2:14265 slot="+w.slot("10.0.0.2").ID.String())
	assert.Contains(t, w.log.String(), "Layer7 invalid response: behind by")
	assert.NotContains(t, w.log.String(), "\x1b")
	assert.NotContains(t, w.log.String(), strings.Repeat("x", 200))
	assert.Equal(t, []string{"default 10.0.0.2:14265 L7RSP"}, w.observer.ejected)
	assert.Equal(t, [2]int{1, 0}, [2]int{w.observer.checks.Ejected, w.observer.checks.Readmitted})
	assert.Empty(t, w.haproxy.Changes(), "one of four is not too many")

	w.haproxy.Return(w.slot("10.0.0.2").ID.String())
	w.polls(5 * time.Second)
	assert.Equal(t, 1, w.logged(returnedLine))
	assert.Zero(t, w.observer.checks.Ejected)
}

func TestTheReasonIsAwaitedWhileTheNextCheckRuns(t *testing.T) {
	running := haproxytest.Check{Status: "* " + behind.Status, Desc: behind.Desc}
	for name, test := range map[string]struct {
		then func(w *world)
		want string
	}{
		"it ends": {func(w *world) { w.eject("10.0.0.2", behind); w.poll() }, `reason="Layer7 invalid response: behind by 10 milestones"`},
		"the next one passes": {func(w *world) {
			w.eject("10.0.0.2", haproxytest.Check{Status: "L7OK", Desc: "Layer7 check passed"})
			w.polls(reasonTimeout)
		}, `reason="Layer7 invalid response"`},
		"it takes too long":            {func(w *world) { w.polls(reasonTimeout) }, `reason="Layer7 invalid response"`},
		"the node has returned before": {func(w *world) { w.haproxy.Return(w.slot("10.0.0.2").ID.String()); w.poll() }, `reason="Layer7 invalid response"`},
	} {
		t.Run(name, func(t *testing.T) {
			w := checkedWorld(t, 4)
			w.eject("10.0.0.2", running)
			w.poll()
			assert.Zero(t, w.logged(ejectedLine))
			test.then(w)
			assert.Equal(t, 1, w.logged(ejectedLine))
			assert.Contains(t, w.log.String(), test.want)
		})
	}
}

// A HAProxy with thousands of slots takes long for its answer.
func TestASlowHAProxyIsAskedLessOften(t *testing.T) {
	for took, want := range map[time.Duration]int{0: 80, time.Millisecond: 80, 10 * time.Millisecond: 40, time.Second: 3} {
		w := checkedWorld(t, 2)
		asked := 0
		w.haproxy.Before = func(_ int, line string) haproxytest.Fault {
			if strings.HasPrefix(line, "show stat iri_back") {
				asked++
				w.advance(took)
			}
			return haproxytest.None
		}
		w.opts.ResyncInterval = time.Hour // it reads the same
		for end := w.clock.Now().Add(20 * time.Second); w.clock.Now().Before(end); {
			w.poll()
		}
		assert.InDelta(t, want, asked, float64(want)/3, took.String())
	}
}

func TestASlotThatWaitsForItsFirstCheckIsNotEjected(t *testing.T) {
	w := checkedWorld(t, 2)
	// The slot's last check was that of another node, and failed.
	for _, s := range w.haproxy.Servers("iri_back") {
		if s.Addr == haproxytest.Placeholder {
			w.haproxy.Checks[s.ID.String()] = haproxytest.Refused
		}
	}
	w.set(nodes(1, 3)...)
	w.settle()
	w.polls(firstCheckTimeout - time.Second)
	require.False(t, w.slot("10.0.0.3").Up)
	assert.Zero(t, w.logged(ejectedLine))
	assert.Zero(t, w.observer.checks.Ejected)
	w.polls(2 * time.Second)
	assert.Equal(t, 1, w.logged(ejectedLine), "its checks have failed for too long")
	assert.Equal(t, 1, w.observer.checks.Ejected)
	w.eject("10.0.0.1", behind)
	w.polls(time.Second)
	assert.Equal(t, []string{"10.0.0.1"}, w.standing(pool.Ejected), "one of the two that were let in")
	w.eject("10.0.0.2", behind)
	w.polls(time.Second)
	assert.Equal(t, []string{"10.0.0.2"}, w.standing(pool.Readmitted))
	assert.False(t, w.slot("10.0.0.3").Up, "it has never answered here")
}

func TestNoMoreThanTheShareOfAPoolIsEjected(t *testing.T) {
	w := checkedWorld(t, 5)
	for i := 1; i <= 5; i++ {
		w.eject(fmt.Sprintf("10.0.0.%d", i), behind)
		w.advance(time.Second)
		w.poll()
	}
	assert.Equal(t, [2]int{2, 3}, [2]int{len(w.standing(pool.Ejected)), len(w.standing(pool.Readmitted))})
	assert.Equal(t, []string{"10.0.0.3", "10.0.0.4", "10.0.0.5"}, w.standing(pool.Readmitted), "those ejected last are in service")
	for _, addr := range w.standing(pool.Readmitted) {
		assert.True(t, w.slot(addr).Up)
	}
	assert.Equal(t, 1, w.logged("more than 50 % of pool default fails HAProxy's check; the others stay in service without it"))
	w.poll()
	assert.Equal(t, [2]int{2, 3}, [2]int{w.observer.checks.Ejected, w.observer.checks.Readmitted})

	w.haproxy.Changes()
	w.polls(w.opts.ResyncInterval + time.Second)
	assert.Empty(t, w.haproxy.Changes(), "the resync leaves them alone, and so does every poll")
	assert.Zero(t, w.observer.drifted)
	assert.Equal(t, 5, w.logged(ejectedLine))
	assert.Equal(t, 1, w.logged("more than 50 %"))

	w.haproxy.Return(w.slot("10.0.0.1").ID.String())
	w.haproxy.Return(w.slot("10.0.0.2").ID.String())
	w.polls(time.Second)
	assert.Len(t, w.standing(pool.Readmitted), 3, "if the check took them out, three would be ejected")
	w.answers = map[netip.AddrPort]bool{node("10.0.0.3").Addr: true}
	w.polls(2 * time.Second)
	for i := 1; i <= 5; i++ {
		assert.False(t, w.slot(fmt.Sprintf("10.0.0.%d", i)).CheckDisabled, "one answers, and two may be ejected")
	}
	w.eject("10.0.0.4", behind)
	w.eject("10.0.0.5", behind)
	w.polls(trialTime + time.Second)
	assert.Equal(t, []string{"10.0.0.4", "10.0.0.5"}, w.standing(pool.Ejected))
	assert.Equal(t, 5, w.logged(ejectedLine), "they have failed since then")
	assert.Equal(t, 3, w.logged(returnedLine))
	assert.Equal(t, 1, w.logged("HAProxy's checks decide on every node of the pool again"))
}

// standing lists the nodes of the default pool.
func (w *world) standing(want pool.Standing) (hosts []string) {
	for _, f := range w.ejections.slots["default"] {
		if f.Standing == want {
			hosts = append(hosts, f.addr.Addr().String())
		}
	}
	slices.Sort(hosts)
	return hosts
}

func TestTheOnlyNodeIsNeverEjected(t *testing.T) {
	w := checkedWorld(t, 1)
	w.eject("10.0.0.1", behind)
	w.poll()
	s := w.slot("10.0.0.1")
	assert.True(t, s.Up)
	assert.True(t, s.CheckDisabled)
	assert.Equal(t, []string{"disable health " + s.ID.String(), "set server " + s.ID.String() + " health up"}, w.haproxy.Changes())
}

func TestTheShareIsConfigured(t *testing.T) {
	for percent, want := range map[int]int{0: 4, 25: 3, 50: 2, 99: 1, 100: 0} {
		w := checkedWorld(t, 4, func(_ *world, o *Options) { o.MaxEjectedPercent = percent })
		for i := 1; i <= 4; i++ {
			w.eject(fmt.Sprintf("10.0.0.%d", i), behind)
		}
		w.poll()
		assert.Len(t, w.standing(pool.Readmitted), want, "%d %%", percent)
	}
}

func TestANodeThatAnswersAndFailsTheCheckIsTriedLessAndLessOften(t *testing.T) {
	w := checkedWorld(t, 1, answering("10.0.0.1"))
	id := w.slot("10.0.0.1").ID.String()
	w.eject("10.0.0.1", behind)
	trials := func(d time.Duration) (n int) {
		for range d / tick {
			w.poll()
			for _, c := range w.haproxy.Changes() {
				if c == "enable health "+id {
					n++
					w.haproxy.Eject(id, behind)
				}
			}
		}
		return n
	}
	assert.InDelta(t, 4, trials(20*time.Second), 1)
	trials(2 * time.Minute)
	assert.InDelta(t, 2, trials(2*time.Minute), 1)
	assert.Equal(t, 1, w.logged(ejectedLine))
	assert.Zero(t, w.logged(returnedLine))
	assert.Equal(t, 1, w.logged("more than 50 %"))
	require.Eventually(t, func() bool { w.poll(); return !w.slot("10.0.0.1").CheckDisabled }, time.Minute, time.Microsecond)
	w.polls(trialTime + time.Second) // this time the check passes
	assert.Equal(t, 1, w.logged(returnedLine))
}

// All nodes are behind: they answer the handler, and HAProxy's check fails.
func TestHalfOfTheReadmittedNodesServeWhileOthersAreOnTrial(t *testing.T) {
	const count = 8
	w := checkedWorld(t, count)
	w.answers = map[netip.AddrPort]bool{}
	for i := range count {
		w.answers[node(fmt.Sprintf("10.0.0.%d", i+1)).Addr] = true
	}
	tried := map[haproxy.ServerID]bool{}
	for range time.Minute / tick {
		for _, s := range w.haproxy.Servers("iri_back") {
			w.haproxy.Eject(s.ID.String(), behind) // no effect while its check is off
		}
		serving := 0
		for _, s := range w.haproxy.Serving("iri_back") {
			if s.Up {
				serving++
			}
		}
		if w.observer.checks.Readmitted > 0 {
			require.GreaterOrEqual(t, serving, count/4)
		}
		w.poll()
		for id, f := range w.ejections.slots["default"] {
			if f.trial {
				tried[id] = true
			}
		}
	}
	assert.GreaterOrEqual(t, len(tried), count/2)
}

func TestAReadmittedNodeLeavesByConsulsWordWithItsCheckOnAgain(t *testing.T) {
	for name, after := range map[string][]registry.Node{
		"critical":     {node("10.0.0.1", health(pool.Critical))},
		"maintenance":  {node("10.0.0.1", health(pool.Maintenance))},
		"deregistered": nil,
	} {
		t.Run(name, func(t *testing.T) {
			w := checkedWorld(t, 1)
			id := w.slot("10.0.0.1").ID.Name()
			w.eject("10.0.0.1", behind)
			w.poll()
			require.True(t, w.haproxy.Server("iri_back", id).CheckDisabled)
			w.set(after...)
			w.settle()
			w.polls(time.Second)
			assert.False(t, w.haproxy.Server("iri_back", id).CheckDisabled)
			assert.Equal(t, haproxy.Maint, w.haproxy.Server("iri_back", id).State)
		})
	}
}

func TestAReadmittedNodeStaysSoWhileConsulHasNoResult(t *testing.T) {
	w := checkedWorld(t, 1)
	w.eject("10.0.0.1", behind)
	w.poll()
	w.haproxy.Changes()
	w.set(node("10.0.0.1", health(pool.Unchecked)))
	w.settle()
	w.polls(time.Second)
	assert.Empty(t, w.haproxy.Changes())
}

func TestACheckThatAnEarlierHandlerSwitchedOffIsSwitchedOnAgain(t *testing.T) {
	w := newWorld(t, checked)
	s := w.haproxy.Server("iri_back", "http1")
	s.Addr, s.State, s.Up, s.CheckDisabled = node("10.0.0.1").Addr, haproxy.Ready, true, true
	w.set(nodes(1, 1)...)
	w.settle()
	assert.False(t, s.CheckDisabled)
}

func TestReadmissionsOutliveAReloadAndEndWithARestart(t *testing.T) {
	w := checkedWorld(t, 1)
	w.eject("10.0.0.1", behind)
	w.poll()
	w.haproxy.Reload(0)
	w.settle()
	w.polls(time.Second)
	assert.True(t, w.slot("10.0.0.1").CheckDisabled)
	assert.True(t, w.slot("10.0.0.1").Up)
	w.haproxy.Restart()
	w.settle()
	w.polls(time.Second)
	assert.False(t, w.slot("10.0.0.1").CheckDisabled)
	assert.Equal(t, 1, w.logged(ejectedLine))
}

func TestACheckThatSomebodyElseSwitchesOnDecidesAgain(t *testing.T) {
	w := checkedWorld(t, 1)
	w.eject("10.0.0.1", behind)
	w.poll()
	w.haproxy.Run("enable health " + w.slot("10.0.0.1").ID.String())
	w.poll()
	assert.Empty(t, w.standing(pool.Readmitted))
	w.eject("10.0.0.1", behind)
	w.poll()
	assert.Equal(t, []string{"10.0.0.1"}, w.standing(pool.Readmitted))
	assert.Equal(t, 1, w.logged(ejectedLine))
}

func TestACheckThatWasSentElsewhereByHandIsRepairedAlsoWhileItIsOff(t *testing.T) {
	w := checkedWorld(t, 1)
	w.slot("10.0.0.1").CheckPort = 99
	w.eject("10.0.0.1", behind)
	w.poll()
	require.True(t, w.slot("10.0.0.1").CheckDisabled)
	w.polls(w.opts.ResyncInterval + time.Second)
	assert.Zero(t, w.slot("10.0.0.1").CheckPort)
	assert.False(t, w.slot("10.0.0.1").CheckDisabled)
}

func TestNodesAreReadmittedWhileAReconciliationFails(t *testing.T) {
	w := checkedWorld(t, 1)
	w.haproxy.Before = func(_ int, line string) haproxytest.Fault {
		if strings.Contains(line, "addr 10.0.0.2 ") {
			return haproxytest.Refuse
		}
		return haproxytest.None
	}
	w.set(nodes(1, 2)...)
	w.polls(time.Second)
	w.eject("10.0.0.1", behind)
	w.polls(time.Second)
	assert.True(t, w.slot("10.0.0.1").Up)
}

func TestReadmissionSurvivesALostConnection(t *testing.T) {
	for name, fault := range map[string]haproxytest.Fault{"lost": haproxytest.Lose, "answer lost": haproxytest.LoseAnswer, "refused": haproxytest.Refuse} {
		for _, command := range []string{" health up", "disable health iri_back/http"} {
			t.Run(name+" "+command, func(t *testing.T) {
				w := checkedWorld(t, 1)
				done := false
				w.haproxy.Before = func(_ int, line string) haproxytest.Fault {
					if done || !strings.Contains(line, command) {
						return haproxytest.None
					}
					done = true
					return fault
				}
				w.eject("10.0.0.1", behind)
				w.polls(2 * time.Second)
				assert.True(t, done)
				assert.True(t, w.slot("10.0.0.1").Up)
				assert.Equal(t, 1, w.logged(ejectedLine))
			})
		}
	}
}

func TestAnAnswerThatCannotBeReadIsSaidOnceAndStopsNothing(t *testing.T) {
	w := checkedWorld(t, 2)
	w.haproxy.Before = func(_ int, line string) haproxytest.Fault {
		if strings.HasPrefix(line, "show stat") {
			return haproxytest.Refuse
		}
		return haproxytest.None
	}
	w.polls(30 * time.Second)
	assert.Equal(t, 1, w.logged("cannot follow HAProxy's own checks"))
	w.haproxy.Before = nil
	w.eject("10.0.0.1", behind)
	w.polls(2 * longestPause)
	assert.Equal(t, 1, w.logged(ejectedLine))
}

func TestRetriesAreCountedForTheNodeThatHasTheSlot(t *testing.T) {
	w := checkedWorld(t, 3)
	first, second := w.slot("10.0.0.1").ID.String(), w.slot("10.0.0.2").ID.String()
	w.haproxy.Retries[first] = 5
	w.poll()
	w.haproxy.Retries[first], w.haproxy.Retries[second] = 7, 1
	w.poll()
	assert.Equal(t, map[netip.AddrPort]int{node("10.0.0.1").Addr: 7, node("10.0.0.2").Addr: 1, node("10.0.0.3").Addr: 0}, w.observer.retries)

	w.haproxy.Reload(0)
	w.haproxy.Retries[first] = 9 // more than before, in the new worker
	w.settle()
	w.poll()
	assert.Equal(t, 16, w.observer.retries[node("10.0.0.1").Addr])
	w.haproxy.Retries[first] = 2 // "clear counters all"
	w.poll()
	assert.Equal(t, 18, w.observer.retries[node("10.0.0.1").Addr])

	for _, free := range w.haproxy.Servers("iri_back") {
		w.haproxy.Retries[free.ID.String()] += 100
	}
	w.set(nodes(1, 4)...)
	w.settle()
	w.poll()
	w.haproxy.Retries[w.slot("10.0.0.4").ID.String()]++
	w.poll()
	assert.Equal(t, 1, w.observer.retries[node("10.0.0.4").Addr], "what was counted before belongs to another node")
}

// Whatever nodes and Consul do: never are more ejected than may be, no check of a slot without a node in service stays off,
// and when all nodes are healthy HAProxy's checks decide on all of them.
func TestEjectionsStayWithinTheShareAndEnd(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		percent, count := rapid.SampledFrom([]int{0, 34, 50, 100}).Draw(r, "percent"), rapid.IntRange(1, 6).Draw(r, "nodes")
		w := checkedWorld(t, count, func(_ *world, o *Options) { o.MaxEjectedPercent, o.GuardPercent = percent, 0 })
		healthOf := make([]pool.Health, count)
		broken := make([]bool, count)
		w.answers = map[netip.AddrPort]bool{}
		haproxyChecks := func() {
			for _, s := range w.haproxy.Servers("iri_back") {
				for i := range count {
					if s.Addr != node(fmt.Sprintf("10.0.0.%d", i+1)).Addr {
						continue
					}
					if broken[i] {
						w.haproxy.Eject(s.ID.String(), behind)
					} else {
						w.haproxy.Return(s.ID.String())
					}
				}
			}
		}
		check := func() {
			w.polls(time.Second)
			ejected, serving := 0, 0
			for _, s := range w.haproxy.Servers("iri_back") {
				f := w.ejections.slots["default"][s.ID]
				switch {
				case s.State != haproxy.Ready:
					require.False(r, s.CheckDisabled, "%s is %s", s.ID, s.State)
					continue
				case f == nil || f.Standing == pool.Awaiting:
					continue
				case !s.Up:
					ejected++
				}
				serving++
			}
			require.LessOrEqual(r, ejected, serving*percent/100)
		}
		for range rapid.IntRange(1, 12).Draw(r, "steps") {
			i := rapid.IntRange(0, count-1).Draw(r, "node")
			addr := node(fmt.Sprintf("10.0.0.%d", i+1)).Addr
			switch rapid.IntRange(0, 4).Draw(r, "what") {
			case 0, 1:
				broken[i] = !broken[i]
			case 2:
				w.answers[addr] = !w.answers[addr]
			case 3:
				healthOf[i] = rapid.SampledFrom([]pool.Health{pool.Passing, pool.Critical, pool.Maintenance, pool.Unchecked}).Draw(r, "health")
				var all []registry.Node
				for j, h := range healthOf {
					all = append(all, node(fmt.Sprintf("10.0.0.%d", j+1), health(h)))
				}
				w.set(all...)
			case 4:
				w.haproxy.Reload(0)
			}
			haproxyChecks()
			check()
		}
		for i := range count {
			broken[i], w.answers[node(fmt.Sprintf("10.0.0.%d", i+1)).Addr] = false, true
		}
		w.set(nodes(1, count)...)
		for range 2 * int(maxProbePause/time.Second) {
			w.polls(time.Second)
			haproxyChecks()
			if slices.IndexFunc(w.haproxy.Servers("iri_back"), func(s *haproxy.Server) bool { return s.CheckDisabled }) < 0 {
				break
			}
		}
		w.poll()
		for _, s := range w.haproxy.Servers("iri_back") {
			require.False(r, s.CheckDisabled)
		}
		require.Len(r, w.haproxy.Serving("iri_back"), count)
		require.Empty(r, w.standing(pool.Ejected))
	})
}
