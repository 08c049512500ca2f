package mirror

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy/haproxytest"
)

func TestAStoppingWorkerIsLeftForTheNewOne(t *testing.T) {
	w := newWorld(t)
	w.set(nodes(1, 2)...)
	w.settle()
	w.haproxy.Reload(0)
	servers, err := w.session.observe(t.Context())
	require.NoError(t, err)
	assert.Equal(t, w.haproxy.Pid(), w.session.worker.Pid)
	assert.Len(t, servers, 2)
}

func TestAWorkerThatIsReplacedWhileItIsToldSomethingNeedsOneTurnOnly(t *testing.T) {
	w := newWorld(t)
	w.set(nodes(1, 2)...)
	w.settle()
	w.haproxy.Before = func(_ int, line string) haproxytest.Fault {
		if strings.Contains(line, " addr 10.0.0.3 ") {
			w.haproxy.Before = nil
			w.haproxy.Reload(0)
		}
		return haproxytest.None
	}
	w.set(nodes(1, 3)...)
	w.step()
	assert.Equal(t, reasonNone, w.schedule.due)
	w.requireInLine(nodes(1, 3)...)
}

func TestWhatIsKnownIsNotReadAgain(t *testing.T) {
	w := newWorld(t)
	w.set(nodes(1, 2)...)
	w.settle()
	reads := map[string]int{}
	w.haproxy.Before = func(_ int, line string) haproxytest.Fault {
		if f := strings.Fields(line); f[0] == "show" {
			reads[f[1]]++
		}
		return haproxytest.None
	}
	w.set(node("10.0.0.1", weight(2)), node("10.0.0.2"))
	w.step()
	w.requireInLine(node("10.0.0.1", weight(2)), node("10.0.0.2"))
	assert.Equal(t, map[string]int{"info": 1, "servers": 1}, reads, "the change is verified, and nothing else is read")
}

func TestTheLastSlotDoesNotDrainWhileRequestsWait(t *testing.T) {
	w := newWorld(t)
	w.set(node("10.0.0.1"))
	w.settle()
	last := w.haproxy.Serving("iri_back")[node("10.0.0.1").Addr]
	w.haproxy.Queued["iri_back"] = 3
	w.set()
	w.settle()
	require.Equal(t, haproxy.Ready, last.State)
	w.haproxy.Queued["iri_back"] = 0
	w.advance(tick)
	w.settle()
	assert.NotEqual(t, haproxy.Ready, last.State)
}

func TestAPoolWithoutSlotsForTLSNeedsNoMap(t *testing.T) {
	w := newWorld(t, func(w *world, o *Options) {
		w.haproxy = haproxytest.New()
		w.haproxy.AddBackend("iri_back", haproxytest.Template{Prefix: "http", Slots: 3})
		w.haproxy.AddBackend("iri_pow_back", haproxytest.Template{Prefix: "http", Slots: 3})
	})
	w.set(nodes(1, 2)...)
	w.settle()
	w.requireInLine(nodes(1, 2)...)
}
