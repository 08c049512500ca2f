//go:build integration

package bench

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

const fillNodes = 2000

// fillResult is how long it took to fill two empty pools.
type fillResult struct {
	raw, sync, first samples
}

// measureFill fills both backends with the same commands: raw, by "sync" and by
// the daemon's first reconciliation, in turn.
func measureFill(t *testing.T, repetitions int) *fillResult {
	t.Helper()
	r := &fillResult{}
	b := harness.JoinBed(t, harness.StartConsul(t), startHAProxy(t, fillNodes, ""))
	fill(t, b.Consul, "bench-fill", 0, fillNodes, "haproxy.pow=true")
	configure(t, b, "bench-fill")
	l, err := dialLine(b.AdminSocket())
	require.NoError(t, err)
	raw := append(fillCommands(harness.Backend, fillNodes), fillCommands(harness.PoWBackend, fillNodes)...)
	for range repetitions {
		timed(t, b, l, &r.raw, func() { require.NoError(t, l.pipeline(raw)) })
		timed(t, b, l, &r.sync, func() {
			code, log := b.Handler(t, "sync")
			require.Zero(t, code, log)
		})
		if took := firstReconciliation(t, b, l); took > 0 {
			r.first = append(r.first, took)
		}
	}
	return r
}

// timed measures the filling of two empty pools and checks that they are full.
func timed(t *testing.T, b *harness.Bed, l *line, into *samples, fill func()) {
	t.Helper()
	require.NoError(t, l.pipeline(emptyCommands()))
	harness.Keep(time.Second) // HAProxy has nothing to do when the measurement begins
	began := time.Now()
	fill()
	*into = append(*into, time.Since(began))
	requireFull(t, b)
}

func requireFull(t *testing.T, b *harness.Bed) {
	t.Helper()
	for _, backend := range []string{harness.Backend, harness.PoWBackend} {
		w := &way{observer: &observer{socket: b.AdminSocket(), backend: backend}}
		require.Equal(t, fillNodes, w.serves(t, fillNodes, 20*time.Second), backend)
		_ = w.observer.line.conn.Close()
	}
}

// firstReconciliation lets the daemon fill the pools and returns how long that took by its own clock, including
// verification; 0 when it does not report it.
func firstReconciliation(t *testing.T, b *harness.Bed, l *line) time.Duration {
	t.Helper()
	require.NoError(t, l.pipeline(emptyCommands()))
	harness.Keep(time.Second) // HAProxy has nothing to do when the measurement begins
	b.Run(t)
	defer b.Daemon.Stop(syscall.SIGTERM)
	requireFull(t, b)
	m := metricsOf(b)
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) { // between two looks
		if n, ok := m.get("pass_seconds_count"); ok && n > 0 {
			seconds, _ := m.get("pass_seconds_sum")
			if n > 1 {
				t.Logf("%v reconciliations where one was to be measured: left out", n)
				return 0
			}
			return time.Duration(seconds * float64(time.Second))
		}
	}
	return 0
}

func emptyCommands() []string {
	var commands []string
	for backend, maxconn := range map[string]int{harness.Backend: 0, harness.PoWBackend: 1} {
		for i := range fillNodes {
			slot := fmt.Sprintf("%s/http%d", backend, i+1)
			commands = append(commands, "set server "+slot+" state maint", "set server "+slot+" addr 127.0.0.1 port 1",
				"set server "+slot+" weight 1", fmt.Sprintf("set maxconn server %s %d", slot, maxconn))
		}
	}
	return commands
}
