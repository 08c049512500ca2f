//go:build integration && bench

package integration

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const fillNodes = 2000

// fillResult is how long it took to fill two empty pools.
type fillResult struct {
	raw, sync, pass samples
}

// measureFill fills both backends with the same commands: raw, by "sync" and by
// the daemon's first pass, in turn.
func measureFill(t *testing.T, repetitions int) *fillResult {
	t.Helper()
	r := &fillResult{}
	b := &bed{consul: startConsul(t), haproxy: startHAProxy(t, fillNodes)}
	b.fill(t, "bench-fill", 0, fillNodes, "haproxy.pow=true")
	b.config = benchHandlerConfig(t, b, "bench-fill")
	l, err := dialLine(b.dir + "/admin.sock")
	require.NoError(t, err)
	raw := append(fillCommands("iri_back", fillNodes), fillCommands("iri_pow_back", fillNodes)...)
	for range repetitions {
		b.timed(t, l, &r.raw, func() { require.NoError(t, l.pipeline(raw)) })
		b.timed(t, l, &r.sync, func() {
			code, log := runProgram(t, "iri-lb-handler", "sync", "--config", b.config)
			require.Zero(t, code, log)
		})
		if took := b.firstPass(t, l); took > 0 {
			r.pass = append(r.pass, took)
		}
	}
	return r
}

// timed runs the filling of two empty pools and checks that they are full.
func (b *bed) timed(t *testing.T, l *line, into *samples, fill func()) {
	t.Helper()
	require.NoError(t, l.pipeline(emptyCommands()))
	time.Sleep(time.Second)
	began := time.Now()
	fill()
	*into = append(*into, time.Since(began))
	b.requireFull(t)
}

func (b *bed) requireFull(t *testing.T) {
	t.Helper()
	for _, backend := range []string{"iri_back", "iri_pow_back"} {
		w := &way{observer: &observer{socket: b.dir + "/admin.sock", backend: backend}}
		require.Equal(t, fillNodes, w.serves(t, fillNodes, 20*time.Second), backend)
		_ = w.observer.line.conn.Close()
	}
}

// firstPass lets the daemon fill the pools and returns how long its pass took by
// its own clock, verification included; 0 when it does not say so.
func (b *bed) firstPass(t *testing.T, l *line) time.Duration {
	t.Helper()
	require.NoError(t, l.pipeline(emptyCommands()))
	time.Sleep(time.Second)
	b.run(t)
	defer b.daemon.stop(syscall.SIGTERM)
	b.requireFull(t)
	m := metricsOf(t, b.config)
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if passes, ok := m.get("pass_seconds_count"); ok && passes > 0 {
			seconds, _ := m.get("pass_seconds_sum")
			if passes > 1 {
				t.Logf("%v passes where one was to be measured: left out", passes)
				return 0
			}
			return time.Duration(seconds * float64(time.Second))
		}
	}
	return 0
}

func emptyCommands() []string {
	var commands []string
	for backend, maxconn := range map[string]int{"iri_back": 0, "iri_pow_back": 1} {
		for i := range fillNodes {
			slot := fmt.Sprintf("%s/http%d", backend, i+1)
			commands = append(commands, "set server "+slot+" state maint", "set server "+slot+" addr 127.0.0.1 port 1",
				"set server "+slot+" weight 1", fmt.Sprintf("set maxconn server %s %d", slot, maxconn))
		}
	}
	return commands
}
