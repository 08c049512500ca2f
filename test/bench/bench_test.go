//go:build integration

package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// page is where the results are written.
const page = "docs/performance.md"

// settings of the benchmark; the page has the results of the defaults.
type settings struct {
	sizes       []int
	toggles     int
	repetitions int
	idle        time.Duration
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
	return s
}

// TestBench measures and writes its results. It sets no limits: it fails only when something could not be measured.
func TestBench(t *testing.T) {
	target := harness.Report{Page: page, Section: "bench"}
	target.RequireBegin(t)
	s := readSettings(t)
	r := report{machine: describeMachine(t, s.command())}
	for _, n := range s.sizes {
		ok := t.Run(fmt.Sprintf("change/%d", n), func(t *testing.T) {
			r.changes = append(r.changes, measureChanges(t, n, s.toggles))
		})
		require.True(t, ok)
	}
	require.True(t, t.Run("fill", func(t *testing.T) { r.fill = measureFill(t, s.repetitions) }))
	text := r.String()
	target.RequireWrite(t, text)
}

// TestBenchIdle does the same for the daemon with nothing to do.
func TestBenchIdle(t *testing.T) {
	target := harness.Report{Page: page, Section: "bench, nothing to do"}
	target.RequireBegin(t)
	s := readSettings(t)
	var b strings.Builder
	b.WriteString(describeMachine(t, s.command()) + "\n")
	measureIdle(t, s.idle).write(&b)
	target.RequireWrite(t, b.String())
}
