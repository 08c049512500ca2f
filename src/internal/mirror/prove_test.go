package mirror

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy/haproxytest"
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
		assert.Contains(w.t, strings.Join(w.status.Details(), ""), "should leave and stays in service: no other server is up in HAProxy yet")
		assert.Equal(w.t, 1, strings.Count(w.log.String(), "a slot should leave and stays in service"))
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
