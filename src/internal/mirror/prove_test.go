package mirror

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy/haproxytest"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

// checked makes HAProxy check its slots, and its checks pass late.
func checked(w *world, _ *Options) {
	w.haproxy = haproxytest.New()
	w.haproxy.SlowChecks = true
	w.haproxy.AddBackend("iri_back", haproxytest.Template{Prefix: "http", Slots: 8, Checked: true})
	w.haproxy.AddBackend("iri_pow_back", haproxytest.Template{Prefix: "http", Slots: 4, Checked: true, MaxConn: 1})
	w.haproxy.AddMap(sniPath)
}

func answering(addrs ...string) func(*world, *Options) {
	return func(w *world, _ *Options) {
		w.answers = map[netip.AddrPort]bool{}
		for _, a := range addrs {
			w.answers[node(a).Addr] = true
		}
	}
}

func TestANodeThatAnswersTheHandlerNeedNotWaitForHAProxysCheck(t *testing.T) {
	loop(t, func(w *world) {
		w.Receive(registry.Snapshot{Nodes: nodes(1, 1), Complete: true})
		synctest.Wait()
		w.Receive(registry.Snapshot{Nodes: nodes(1, 3), Complete: true})
		synctest.Wait()
		serving := w.haproxy.Serving("iri_back")
		assert.True(w.t, serving[node("10.0.0.2").Addr].Up, "it answers")
		assert.False(w.t, serving[node("10.0.0.3").Addr].Up, "it does not: HAProxy's check decides")
	}, checked, answering("10.0.0.2"))
}

func TestTheOldSlotLeavesAsSoonAsTheNewNodeAnswers(t *testing.T) {
	loop(t, func(w *world) {
		w.Receive(registry.Snapshot{Nodes: nodes(1, 1), Complete: true})
		synctest.Wait()
		w.Receive(registry.Snapshot{Nodes: nodes(2, 2), Complete: true})
		time.Sleep(time.Second)
		synctest.Wait()
		w.requireInLine(nodes(2, 2)...)
		assert.Empty(w.t, w.status.Details())
	}, checked, answering("10.0.0.2"))
}

func TestTheOldSlotIsHeldAndReportedWhileTheNewNodeIsDown(t *testing.T) {
	loop(t, func(w *world) {
		w.Receive(registry.Snapshot{Nodes: nodes(1, 1), Complete: true})
		synctest.Wait()
		w.Receive(registry.Snapshot{Nodes: nodes(2, 2), Complete: true})
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Contains(w.t, strings.Join(w.status.Details(), ""), "should leave but stays in service until what replaces it is up in HAProxy")
		assert.Equal(w.t, 1, strings.Count(w.log.String(), "a slot should leave but stays in service"))
		assert.True(w.t, w.haproxy.Serving("iri_back")[node("10.0.0.1").Addr].Up)
		w.haproxy.Do(w.haproxy.PassChecks)
		time.Sleep(time.Second)
		synctest.Wait()
		w.requireInLine(nodes(2, 2)...)
		assert.Empty(w.t, w.status.Details())
	}, checked)
}

func TestSyncAdmitsNodesThatAnswerAndFreesWhatWasHeldForThem(t *testing.T) {
	w := newWorld(t, checked, answering("10.0.0.2"))
	w.source.snap = registry.Snapshot{Nodes: nodes(1, 1), Complete: true}
	require.NoError(t, w.Sync(t.Context()))
	w.source.snap = registry.Snapshot{Nodes: nodes(2, 2), Complete: true}
	require.NoError(t, w.Sync(t.Context()))
	w.requireInLine(nodes(2, 2)...)
	assert.True(t, w.haproxy.Serving("iri_back")[node("10.0.0.2").Addr].Up)
}

func TestASlotThatHasChangedMeanwhileIsNotAdmitted(t *testing.T) {
	for name, change := range map[string]func(s *haproxy.Server){
		"another address": func(s *haproxy.Server) { s.Addr = node("10.0.0.9").Addr },
		"out of service":  func(s *haproxy.Server) { s.State = haproxy.Maint },
		"up already":      func(s *haproxy.Server) { s.Up = true },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, checked)
			w.set(nodes(1, 1)...)
			w.settle()
			w.set(nodes(1, 2)...)
			w.reconciler.unproven = nil
			_, err := w.reconcile(t.Context(), reasonSnapshot)
			require.NoError(t, err)
			unproven := w.reconciler.takeUnproven()
			require.Len(t, unproven, 1)
			change(w.haproxy.Server("iri_back", unproven[0].Slot.Name()))
			w.haproxy.Changes()
			require.NoError(t, w.admit(t.Context(), unproven))
			assert.Empty(t, w.haproxy.Changes())
		})
	}
}

func TestAnOlderAnswerOfConsulIsNotAppliedOverANewerOne(t *testing.T) {
	w := newWorld(t)
	w.source.snap = registry.Snapshot{Nodes: nodes(1, 1), Complete: true, Index: 5}
	// Another process has applied index 7 meanwhile.
	other := newAppliedIndex(w.opts.Socket, w.Mirror.log)
	other.write(7)
	queries := 0
	w.Mirror.source = countedSource{w.source, func() {
		if queries++; queries == 2 {
			w.source.snap = registry.Snapshot{Nodes: nodes(1, 2), Complete: true, Index: 8}
		}
	}}
	require.NoError(t, w.Sync(t.Context()))
	assert.Equal(t, 2, queries)
	w.requireInLine(nodes(1, 2)...)
	assert.Equal(t, uint64(8), other.read())
}

func TestAConsulThatHasLostItsDataIsBelievedTheSecondTime(t *testing.T) {
	w := newWorld(t)
	newAppliedIndex(w.opts.Socket, w.Mirror.log).write(7000)
	w.source.snap = registry.Snapshot{Nodes: nodes(1, 1), Complete: true, Index: 5}
	require.NoError(t, w.Sync(t.Context()))
	w.requireInLine(nodes(1, 1)...)
}

func TestAnIndexThatCannotBeReadOrWrittenStopsNobody(t *testing.T) {
	w := newWorld(t)
	a := newAppliedIndex(w.opts.Socket, w.Mirror.log)
	assert.Zero(t, a.read())
	require.NoError(t, os.WriteFile(a.path, []byte("many\n"), 0o600))
	assert.Zero(t, a.read())
	a.path = filepath.Join(t.TempDir(), "nowhere", "index")
	a.write(1)
	a.write(2)
	assert.Equal(t, 1, strings.Count(w.log.String(), "cannot note which answer of Consul HAProxy has"))
}

func TestDriftIsRepairedWhileASlotIsHeld(t *testing.T) {
	loop(t, func(w *world) {
		pow := node("10.0.1.1", in("pow"))
		w.Receive(registry.Snapshot{Nodes: append(nodes(1, 1), pow), Complete: true})
		synctest.Wait()
		w.Receive(registry.Snapshot{Nodes: append(nodes(2, 2), pow), Complete: true}) // the first is held, the second stays down
		time.Sleep(time.Second)
		synctest.Wait()
		s := w.haproxy.Serving("iri_pow_back")[pow.Addr]
		w.haproxy.Do(func() { s.State, s.Up = haproxy.Maint, false })
		time.Sleep(2 * w.opts.ResyncInterval)
		synctest.Wait()
		assert.Equal(w.t, haproxy.Ready, s.State)
	}, checked)
}

// once is a fault of the first command that ends so.
func once(end string, fault haproxytest.Fault) func(int, string) haproxytest.Fault {
	done := false
	return func(_ int, line string) haproxytest.Fault {
		if done || !strings.HasSuffix(line, end) {
			return haproxytest.None
		}
		done = true
		return fault
	}
}

func TestARefusedSlotDoesNotKeepOthersFromBeingAdmitted(t *testing.T) {
	loop(t, func(w *world) {
		w.Receive(registry.Snapshot{Nodes: nodes(1, 1), Complete: true})
		synctest.Wait()
		w.haproxy.Do(func() {
			w.haproxy.Before = func(_ int, line string) haproxytest.Fault {
				if strings.Contains(line, "addr 10.0.0.3 ") {
					return haproxytest.Refuse
				}
				return haproxytest.None
			}
		})
		w.Receive(registry.Snapshot{Nodes: nodes(1, 3), Complete: true})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		assert.True(w.t, w.haproxy.Serving("iri_back")[node("10.0.0.2").Addr].Up)
		assert.LessOrEqual(w.t, len(w.reconciler.unproven), 1)
	}, checked, answering("10.0.0.2"))
}

func TestAnAdmissionThatFailsIsRepeated(t *testing.T) {
	loop(t, func(w *world) {
		w.Receive(registry.Snapshot{Nodes: nodes(1, 1), Complete: true})
		synctest.Wait()
		w.haproxy.Do(func() { w.haproxy.Before = once("health up", haproxytest.Lose) })
		w.Receive(registry.Snapshot{Nodes: nodes(1, 2), Complete: true})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		assert.True(w.t, w.haproxy.Serving("iri_back")[node("10.0.0.2").Addr].Up)
	}, checked, answering("10.0.0.2"))
}

func TestANodeWithANameForTLSIsLeftToHAProxysCheck(t *testing.T) {
	loop(t, func(w *world) {
		w.Receive(registry.Snapshot{Nodes: nodes(1, 1), Complete: true})
		synctest.Wait()
		w.Receive(registry.Snapshot{Nodes: append(nodes(1, 1), node("10.0.0.2", named("a.example"))), Complete: true})
		time.Sleep(time.Second)
		synctest.Wait()
		assert.False(w.t, w.haproxy.Serving("iri_back")[node("10.0.0.2").Addr].Up)
	}, checked, answering("10.0.0.2"))
}

func TestSyncWaitsForACheckThatFreesWhatIsHeld(t *testing.T) {
	for name, passes := range map[string]bool{"it passes": true, "it does not": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, checked)
			w.source.snap = registry.Snapshot{Nodes: nodes(1, 1), Complete: true}
			require.NoError(t, w.Sync(t.Context()))
			began := w.clock.Now()
			w.haproxy.Before = func(int, string) haproxytest.Fault {
				if passes && w.clock.Since(began) > 5*time.Second {
					w.haproxy.PassChecks()
				}
				return haproxytest.None
			}
			w.source.snap = registry.Snapshot{Nodes: nodes(2, 2), Complete: true}
			require.NoError(t, w.Sync(t.Context()))
			assert.Equal(t, passes, w.haproxy.Serving("iri_back")[node("10.0.0.1").Addr] == nil)
			assert.LessOrEqual(t, w.clock.Since(began), heldTimeout+time.Second)
		})
	}
}

func TestOverflowReplacesTheLastServerWithoutAGap(t *testing.T) {
	for name, after := range map[string][]registry.Node{"another node": nodes(2, 2), "another scheme": nodes(1, 1, tls(pool.Unverified))} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(w *world, o *Options) {
				o.SlotOverflow = true
				w.haproxy = haproxytest.New()
				w.haproxy.AddBackend("iri_back", haproxytest.Template{Prefix: "http", Slots: 1})
				w.haproxy.AddBackend("iri_pow_back", haproxytest.Template{Prefix: "http", Slots: 1})
				w.haproxy.AddMap(sniPath)
			})
			w.set(nodes(1, 1)...)
			w.settle()
			w.haproxy.Before = func(_ int, line string) haproxytest.Fault {
				up := 0
				for _, s := range w.haproxy.Servers("iri_back") {
					if s.State == haproxy.Ready && s.Up {
						up++
					}
				}
				assert.Positive(t, up, "nobody serves before %q", line)
				return haproxytest.None
			}
			w.set(after...)
			w.settle()
			w.requireInLine(after...)
		})
	}
}

func TestTheIndexCanBeReadByOtherUsersAndIsWrittenAgainWhenTheyChangeIt(t *testing.T) {
	mask := syscall.Umask(0o077)
	defer syscall.Umask(mask)
	w := newWorld(t)
	a, other := newAppliedIndex(w.opts.Socket, w.Mirror.log), newAppliedIndex(w.opts.Socket, w.Mirror.log)
	a.write(7)
	info, err := os.Stat(a.path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o644), info.Mode().Perm())
	other.write(5)
	a.write(7)
	assert.Equal(t, uint64(7), a.read())
}
