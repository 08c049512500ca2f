package mirror

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy/haproxytest"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

func TestSyncMakesOneReconciliation(t *testing.T) {
	w := newWorld(t)
	w.source.snap = registry.Snapshot{Nodes: nodes(1, 3), Complete: true}
	require.NoError(t, w.Sync(t.Context()))
	w.requireInLine(nodes(1, 3)...)
}

func TestSyncRetriesUntilItsContextEndsAndSaysWhatWasWrong(t *testing.T) {
	for name, test := range map[string]struct {
		breakIt func(w *world)
		want    string
	}{
		"Consul does not answer": {func(w *world) { w.source.err = errNoAnswer }, "no answer"},
		"HAProxy does not run":   {func(w *world) { w.haproxy.Stop() }, haproxytest.ErrAway.Error()},
		"most nodes would leave": {func(w *world) {
			w.source.snap, w.source.confirmErr = registry.Snapshot{Complete: true, Seen: w.clock.Now()}, errNoAnswer
		}, "most nodes would leave, and are kept: Consul does not confirm it: no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.set(nodes(1, 4)...)
			w.settle()
			test.breakIt(w)
			w.session.drop() // Sync starts without a connection
			ctx, cancel := context.WithCancel(t.Context())
			tries := 0
			w.Mirror.source = countedSource{w.source, func() {
				if tries++; tries == 3 {
					cancel()
				}
			}}
			require.ErrorContains(t, w.Sync(ctx), test.want)
			assert.Equal(t, 3, tries)
			assert.Contains(t, w.log.String(), "not done yet, retrying")
			assert.Len(t, w.haproxy.Serving("iri_back"), 4, "nobody has left")
		})
	}
}

func TestSyncTakesMostNodesOutWhenConsulConfirmsIt(t *testing.T) {
	w := newWorld(t)
	w.set(nodes(1, 4)...)
	w.settle()
	w.source.snap = registry.Snapshot{Nodes: nodes(1, 4, health(pool.Critical)), Complete: true, Seen: w.clock.Now()}
	w.source.second = w.source.snap
	require.NoError(t, w.Sync(t.Context()))
	assert.Empty(t, w.haproxy.Serving("iri_back"))
	assert.Equal(t, 1, w.source.confirms)
}
