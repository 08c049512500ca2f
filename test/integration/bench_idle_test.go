//go:build integration && bench

package integration

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/require"
)

const (
	idleNodes = 2000
	// between is the time from one check result to the next: that of 2000 nodes
	// which are checked every 30 s.
	between = 15 * time.Millisecond
)

// idleResult is what the daemon used while nothing changed.
type idleResult struct {
	lasted, cpu time.Duration
	results     int
	rss, peak   int // KiB
	passes      float64
}

// measureIdle lets check results arrive that say the same as before.
func measureIdle(t *testing.T, lasts time.Duration) *idleResult {
	t.Helper()
	b := &bed{consul: startConsul(t), haproxy: startHAProxy(t, idleNodes)}
	b.fill(t, "bench-idle", idleNodes, idleNodes)
	// Consul writes an output at once when the state changes with it, and else only
	// some minutes later: that would be 2000 changes within the measurement.
	for i := range idleNodes {
		require.NoError(t, b.report(i, api.HealthCritical))
		require.NoError(t, b.report(i, api.HealthPassing))
	}
	b.config = benchHandlerConfig(t, b, "bench-idle")
	b.run(t)
	w := &way{observer: &observer{socket: b.dir + "/admin.sock", backend: "iri_back"}}
	require.Equal(t, idleNodes, w.serves(t, idleNodes, 30*time.Second))
	time.Sleep(10 * time.Second) // Consul's agent sends what it has gathered

	r := &idleResult{}
	pid, m := b.daemon.cmd.Process.Pid, metricsOf(t, b.config)
	passes, _ := m.get("pass_seconds_count")
	cpu, began := cpuTime(t, pid), time.Now()
	for ticker := time.NewTicker(between); time.Since(began) < lasts; r.results++ {
		<-ticker.C
		require.NoError(t, b.report(r.results%idleNodes, api.HealthPassing))
	}
	r.lasted, r.cpu = time.Since(began), cpuTime(t, pid)-cpu
	after, _ := m.get("pass_seconds_count")
	r.passes = after - passes
	r.rss, r.peak = memory(t, pid, "VmRSS:"), memory(t, pid, "VmHWM:")
	require.Equal(t, idleNodes, w.serves(t, idleNodes, time.Second))
	return r
}

// report sends a check result for the i-th node.
func (b *bed) report(i int, state string) error {
	return b.Agent().UpdateTTL("service:"+benchID("bench-idle", i), benchOutput, state)
}

// cpuTime is utime and stime of /proc/PID/stat (proc(5)), in ticks of 10 ms.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	// The second field, the name, may have spaces in it.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var ticks int
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		require.NoError(t, err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// memory is a line of /proc/PID/status in KiB.
func memory(t *testing.T, pid int, name string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	for row := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(row, name); ok {
			n, err := strconv.Atoi(strings.Fields(value)[0])
			require.NoError(t, err)
			return n
		}
	}
	t.Fatalf("no %s in /proc/%d/status", name, pid)
	return 0
}
