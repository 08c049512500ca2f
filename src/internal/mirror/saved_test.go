package mirror

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

func fromDisk(nodes ...registry.Node) registry.Snapshot {
	return registry.Snapshot{Nodes: nodes, Complete: true, FromDisk: true, Index: 3}
}

// apply makes the snapshot the present one and HAProxy in line with it.
func (w *world) apply(snap registry.Snapshot) {
	w.t.Helper()
	snap.Seen = w.clock.Now()
	w.snapshot, w.received, w.schedule.due = snap, true, reasonSnapshot
	w.settle()
}

func TestTheListOnTheDiskFillsAHAProxyThatIsEmpty(t *testing.T) {
	w := newWorld(t)
	w.apply(fromDisk(append(nodes(1, 3), node("10.0.0.4", health(pool.Unchecked)))...))
	w.requireInLine(nodes(1, 3)...)
	assert.Empty(t, w.observer.applied, "it is no answer of Consul's")
	assert.Zero(t, w.applied.read())
}

func TestTheListOnTheDiskRemovesNothing(t *testing.T) {
	w := newWorld(t)
	w.set(nodes(1, 7)...)
	w.settle()
	w.apply(fromDisk(node("10.0.0.1"), node("10.0.0.8")))
	w.requireInLine(nodes(1, 8)...)
	assert.Zero(t, w.source.confirms, "there is nothing to confirm")
}

func TestTheFirstAnswerAfterTheListOnTheDiskRemovesWhatItLacks(t *testing.T) {
	w := newWorld(t)
	w.apply(fromDisk(nodes(1, 3)...))
	w.set(nodes(1, 2)...)
	w.settle()
	w.requireInLine(nodes(1, 2)...)

	// Most of them: Consul's leader has to say so.
	w = newWorld(t)
	w.apply(fromDisk(nodes(1, 6)...))
	w.set(nodes(6, 6)...)
	w.source.second = w.snapshot
	w.settle()
	w.requireInLine(nodes(6, 6)...)
	assert.Equal(t, 1, w.source.confirms)
	require.Len(t, w.observer.applied, 1)
	assert.Len(t, w.observer.applied[0].Nodes, 1)
}

func TestAListThatTheGuardDoubtsIsNotKept(t *testing.T) {
	w := newWorld(t)
	w.set(nodes(1, 6)...)
	w.settle()
	kept := len(w.observer.applied)
	require.NotZero(t, kept)
	w.set()
	w.source.confirmErr = errNoAnswer
	w.step()
	assert.True(t, w.observer.holding)
	assert.Len(t, w.observer.applied, kept)
}

func TestSyncFillsHAProxyFromTheDiskWhenConsulDoesNotAnswer(t *testing.T) {
	w := newWorld(t)
	saved := fromDisk(nodes(1, 3)...)
	w.source.saved, w.source.err = &saved, errNoAnswer
	require.EqualError(t, w.Sync(t.Context()), "Consul has not answered: no answer; HAProxy has the nodes of the last list on the disk, "+
		"and loses none; the daemon goes on asking Consul")
	w.requireInLine(nodes(1, 3)...)
}

func TestSyncTriesTheListOnTheDiskUntilHAProxyHasIt(t *testing.T) {
	w := newWorld(t)
	saved := fromDisk(nodes(1, 3)...)
	w.source.saved, w.source.err = &saved, errNoAnswer
	w.haproxy.Stop()
	tries := 0
	w.Mirror.source = countedSource{w.source, func() {
		if tries++; tries == 3 {
			w.haproxy.Restart()
		}
	}}
	require.ErrorIs(t, w.Sync(t.Context()), errFilled)
	assert.Equal(t, 3, tries)
	w.requireInLine(nodes(1, 3)...)
}

func TestSyncDoesNotUseTheListOnTheDiskWhenConsulAnswers(t *testing.T) {
	w := newWorld(t)
	saved := fromDisk(nodes(1, 5)...)
	w.source.saved, w.source.snap = &saved, registry.Snapshot{Nodes: nodes(1, 2), Complete: true}
	require.NoError(t, w.Sync(t.Context()))
	w.requireInLine(nodes(1, 2)...)
	assert.NotContains(t, w.log.String(), "on the disk")
}

func TestReadyzSaysThatTheNodesAreThoseOfTheDisk(t *testing.T) {
	w := newWorld(t)
	w.notices.fromDisk(true)
	assert.Contains(t, w.status.Details(), "HAProxy: the nodes are those of the last list on the disk, until Consul answers")
	w.notices.fromDisk(false)
	assert.Empty(t, w.status.Details())
}
