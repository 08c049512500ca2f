package nodecheck_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iri"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/iritest"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/nodecheck"
)

func check(t *testing.T, node *iritest.Server, limits nodecheck.Limits) nodecheck.Result {
	t.Helper()
	client, err := iri.New(node.URL, iri.Options{})
	require.NoError(t, err)
	defer client.Close()
	return nodecheck.Check(t.Context(), client, client.Address(), limits)
}

func TestEveryVersionIsSupported(t *testing.T) {
	for _, name := range iritest.Versions() {
		t.Run(name, func(t *testing.T) {
			node := iritest.NewServer(iritest.Version(name))
			defer node.Close()
			limits := nodecheck.Defaults()
			limits.AppNames = []string{"IRI", "HORNET", "HORNET-legacy"}
			limits.MinVersion = version(t, "0.4")

			// Up to 1.5.5 no command is limited by default, and PoW is permitted.
			unlimited := strings.HasPrefix(name, "1.4.") || name == "1.5.5"
			wantLimited := nodecheck.OK
			if unlimited {
				wantLimited = nodecheck.Critical
			}
			result := check(t, node, limits)
			assert.Equal(t, wantLimited, result.Verdict(), result.Line())

			limits.Limited, limits.PoW = false, true
			result = check(t, node, limits)
			wantPoW := nodecheck.Critical
			if unlimited {
				wantPoW = nodecheck.OK
			}
			assert.Equal(t, wantPoW, result.Verdict(), result.Line())

			node.Update(func(s *iritest.State) { s.PoW = true })
			result = check(t, node, limits)
			assert.Equal(t, nodecheck.OK, result.Verdict(), result.Line())

			node.Update(func(s *iritest.State) { s.Behind = 2 })
			result = check(t, node, limits)
			assert.Contains(t, result.Line(), "not synchronised")

			assert.Zero(t, node.Count("interruptAttachingToTangle"), "it would cancel running work")
		})
	}
}

func TestEveryFaultIsCriticalWithAStableLine(t *testing.T) {
	for _, fault := range iritest.Faults() {
		t.Run(fault, func(t *testing.T) {
			node := iritest.NewServer(iritest.Misbehave(iritest.Fault(fault)))
			defer node.Close()
			limits := nodecheck.Defaults()
			limits.Timeout = 300 * time.Millisecond
			first, second := check(t, node, limits), check(t, node, limits)
			assert.Equal(t, nodecheck.Critical, first.Verdict())
			assert.Equal(t, first.Line(), second.Line())
			assert.Equal(t, 2, node.Count("getNodeInfo"), "nothing else is sent to a node that does not respond")
			assert.Len(t, node.Counters(), 1)
		})
	}
}

func TestAFaultOfAProbeIsCritical(t *testing.T) {
	node := iritest.NewServer(iritest.Misbehave(iritest.FaultDrop, "removeNeighbors"))
	defer node.Close()
	result := check(t, node, nodecheck.Defaults())
	assert.Contains(t, result.Line(), "removeNeighbors: the connection was closed")
}

func TestAHintExplainsNodesThatTrustThisHost(t *testing.T) {
	node := iritest.NewServer(iritest.TrustLoopback())
	defer node.Close()
	result := check(t, node, nodecheck.Defaults())
	assert.Contains(t, result.Line(), "or use -i if the node trusts this host")
}

func TestTheResponseTimeIncludesTheNetwork(t *testing.T) {
	node := iritest.NewServer(iritest.Delay(80 * time.Millisecond))
	defer node.Close()
	limits := nodecheck.Defaults()
	limits.MaxAnswerTime = 40 * time.Millisecond
	result := check(t, node, limits)
	assert.Contains(t, result.Line(), "slow: getNodeInfo took longer than 40ms")
}

func TestOnlyTheRequiredCommandsAreSent(t *testing.T) {
	node := iritest.NewServer(iritest.PoW(true))
	defer node.Close()
	limits := nodecheck.Defaults()
	limits.Limited = false
	check(t, node, limits)
	assert.Equal(t, map[string]int{"getNodeInfo": 1}, node.Counters())

	node.ResetCounters()
	limits.Limited, limits.PoW = true, true
	check(t, node, limits)
	assert.Equal(t, map[string]int{
		"getNodeInfo": 1, "getNeighbors": 1, "addNeighbors": 1, "removeNeighbors": 1, "attachToTangle": 1,
	}, node.Counters())
}

// recorder is a node that records how much time each request has.
type recorder struct{ deadlines []time.Duration }

func (r *recorder) NodeInfo(ctx context.Context) (iri.NodeInfo, error) {
	return healthy().Info, r.Do(ctx, "getNodeInfo", nil, nil)
}

func (r *recorder) Do(ctx context.Context, _ string, _ map[string]any, _ any) error {
	deadline, _ := ctx.Deadline()
	r.deadlines = append(r.deadlines, time.Until(deadline))
	return nil
}

func TestRequestsAndTheWholeCheckHaveDeadlines(t *testing.T) {
	node, limits := &recorder{}, nodecheck.Defaults()
	limits.Timeout = time.Hour
	nodecheck.Observe(t.Context(), node, limits)
	require.Len(t, node.deadlines, 5)
	for _, left := range node.deadlines {
		assert.LessOrEqual(t, left, nodecheck.MaxDuration, "Consul kills checks after 30 s")
	}

	node, limits.Timeout = &recorder{}, time.Second
	nodecheck.Observe(t.Context(), node, limits)
	for _, left := range node.deadlines {
		assert.LessOrEqual(t, left, time.Second)
	}
}
