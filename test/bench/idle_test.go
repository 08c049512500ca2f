//go:build integration

package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

const (
	idleNodes = 2000
	// between is the time between two check results: that of 2000 nodes, each checked every 30 s.
	between = 15 * time.Millisecond
)

// idleResult is what the daemon used while nothing changed.
type idleResult struct {
	lasted, cpu     time.Duration
	results         int
	rss, peak       int // KiB
	reconciliations float64
}

// measureIdle sends check results that say the same as before.
func measureIdle(t *testing.T, lasts time.Duration) *idleResult {
	t.Helper()
	b := harness.JoinBed(t, harness.StartConsul(t), startHAProxy(t, idleNodes, ""))
	fill(t, b.Consul, "bench-idle", idleNodes, idleNodes)
	// Consul stores an output at once if the state changes with it, otherwise only minutes later: those would be 2000
	// changes during the measurement.
	for i := range idleNodes {
		require.NoError(t, reportHealth(b, i, api.HealthCritical))
		require.NoError(t, reportHealth(b, i, api.HealthPassing))
	}
	configure(t, b, "bench-idle")
	b.Run(t)
	w := &way{observer: &observer{socket: b.AdminSocket(), backend: harness.Backend}}
	require.Equal(t, idleNodes, w.serves(t, idleNodes, 30*time.Second))
	pid, m := b.Daemon.PID(), metricsOf(b)
	waitQuiet(t, m)

	r := &idleResult{}
	before, _ := m.get("pass_seconds_count")
	cpu, began := harness.CPUTime(t, pid), time.Now()
	for ticker := time.NewTicker(between); time.Since(began) < lasts; r.results++ {
		<-ticker.C
		require.NoError(t, reportHealth(b, r.results%idleNodes, api.HealthPassing))
	}
	r.lasted, r.cpu = time.Since(began), harness.CPUTime(t, pid)-cpu
	after, _ := m.get("pass_seconds_count")
	r.reconciliations = after - before
	r.rss, r.peak = harness.Memory(pid, "VmRSS"), harness.Memory(pid, "VmHWM")
	require.Equal(t, idleNodes, w.serves(t, idleNodes, time.Second))
	return r
}

// waitQuiet waits until nothing has been reconciled for some seconds: Consul's agent has then sent what it had
// collected.
func waitQuiet(t *testing.T, m *metrics) {
	t.Helper()
	const quiet = 8 * time.Second
	last, since := m.mustGet(t, "pass_seconds_count"), time.Now()
	harness.Eventually(t, 2*time.Minute, "the handler has nothing to do", func() error {
		if n := m.mustGet(t, "pass_seconds_count"); n != last {
			last, since = n, time.Now()
		}
		if time.Since(since) < quiet {
			return fmt.Errorf("%.0f reconciliations", last)
		}
		return nil
	})
}

// reportHealth sends a check result for the i-th node.
func reportHealth(b *harness.Bed, i int, state string) error {
	return b.Agent().UpdateTTL(harness.CheckID(benchID("bench-idle", i)), benchOutput, state)
}
