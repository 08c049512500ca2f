//go:build integration && bench

package integration

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// settings of the benchmark; the defaults are what docs/performance.md has.
type settings struct {
	sizes       []int
	toggles     int
	repetitions int
	idle        time.Duration
	// report is the file that the results are written into.
	report string
	// changed lists the variables that differ from the defaults.
	changed []string
}

func readSettings(t *testing.T) settings {
	t.Helper()
	var s settings
	value := func(name, fallback string) string {
		v := os.Getenv(name)
		if v == "" || v == fallback {
			return fallback
		}
		s.changed = append(s.changed, name+"="+v)
		return v
	}
	number := func(text string) int {
		n, err := strconv.Atoi(text)
		require.NoError(t, err)
		require.Positive(t, n)
		return n
	}
	for size := range strings.SplitSeq(value("BENCH_SIZES", "10,200,2000"), ",") {
		s.sizes = append(s.sizes, number(size))
	}
	s.toggles = number(value("BENCH_TOGGLES", "100"))
	s.repetitions = number(value("BENCH_FILLS", "7"))
	var err error
	s.idle, err = time.ParseDuration(value("BENCH_IDLE", "10m"))
	require.NoError(t, err)
	s.report = reportFile("../../docs/performance.md")
	return s
}

// TestBench measures and writes what it measured. It has no gates: it fails only
// when something could not be measured.
func TestBench(t *testing.T) {
	s := readSettings(t)
	r := report{settings: s, machine: describeMachine(t)}
	for _, n := range s.sizes {
		ok := t.Run(fmt.Sprintf("change/%d", n), func(t *testing.T) {
			r.changes = append(r.changes, measureChanges(t, n, s.toggles))
		})
		require.True(t, ok)
	}
	require.True(t, t.Run("fill", func(t *testing.T) { r.fill = measureFill(t, s.repetitions) }))
	text := r.String()
	t.Log("\n" + text)
	require.NoError(t, writeBetweenMarkers(s.report, "bench", text))
}

// TestBenchIdle does the same for the daemon with nothing to do.
func TestBenchIdle(t *testing.T) {
	s := readSettings(t)
	var b strings.Builder
	b.WriteString(describeMachine(t) + s.command() + "\n")
	measureIdle(t, s.idle).write(&b)
	t.Log("\n" + b.String())
	require.NoError(t, writeBetweenMarkers(s.report, "bench, nothing to do", b.String()))
}
