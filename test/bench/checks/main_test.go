package main

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// repository changes into a new Git repository with one commit, whose page has the marks of make bench-check.
func repository(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("docs", 0o755))
	marked := "# Performance\n<!-- make bench-check: begin -->\nold\n<!-- make bench-check: end -->\nby hand\n"
	for name, text := range map[string]string{"go.mod": "module m\n", page.Page: marked} {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
	}
	for _, args := range []string{"init -q", "add .", "-c user.name=x -c user.email=x@example.org commit -qm first"} {
		out, err := exec.CommandContext(t.Context(), "git", strings.Fields(args)...).CombinedOutput()
		require.NoError(t, err, string(out))
	}
}

func TestNothingIsMeasuredWithUncommittedChanges(t *testing.T) {
	repository(t)
	require.NoError(t, os.WriteFile("code.go", nil, 0o644))
	err := run(t.Context(), options{bin: t.TempDir()})
	require.ErrorContains(t, err, "uncommitted changes")
	assert.ErrorContains(t, err, "code.go")
	t.Setenv("REPORT", "-")
	assert.ErrorIs(t, run(t.Context(), options{bin: t.TempDir()}), os.ErrNotExist, "REPORT=- measures, here without the programs")
}

// build builds the programs and returns their directory.
func build(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin+"/", "../../../src/cmd/iri-node-check", "../../../src/cmd/iri-lb-handler",
		"../../../src/cmd/iri-fake-node").CombinedOutput()
	require.NoError(t, err, string(out))
	return bin
}

func TestAShortRunMeasuresProcessesAndTheResidentProgram(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	o := options{bin: build(t), runs: 2, nodes: 3, interval: 300 * time.Millisecond, run: 600 * time.Millisecond}
	nodes, err := startNodes(t.Context(), o)
	require.NoError(t, err)
	defer nodes.stop()
	require.Len(t, nodes.urls, 3)

	single, err := measureProcesses(t.Context(), o, nodes.urls[0])
	require.NoError(t, err)
	assert.Positive(t, single.check.cpu)
	assert.Positive(t, single.curl.wall)

	res, err := measureResident(t.Context(), o, nodes.urls)
	require.NoError(t, err)
	assert.Positive(t, res.peak)
	assert.InDelta(t, 9, res.checks, 3, "3 per interval, for 3 intervals")

	o.interval, o.run = time.Second, 2*time.Second // a node of the catalog is checked no more often
	handler, err := measureHandler(t.Context(), o, nodes.urls)
	require.NoError(t, err)
	assert.Positive(t, handler.peak)
	assert.InDelta(t, 6, handler.checks, 3, "3 per interval, for 2 intervals")

	nodes.stop()
	_, err = measureHandler(t.Context(), o, nodes.urls)
	assert.ErrorContains(t, err, "checks of the handler did not pass")
	_, err = measureResident(t.Context(), o, nodes.urls)
	assert.ErrorContains(t, err, "checks did not pass")
	_, err = measureProcesses(t.Context(), o, nodes.urls[0])
	assert.ErrorContains(t, err, "curl: exit status")
}

func TestARunWritesTheReport(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	o := options{bin: build(t), runs: 1, nodes: 1, interval: 100 * time.Millisecond, run: 100 * time.Millisecond}
	repository(t)
	require.NoError(t, run(t.Context(), o))
	text, err := os.ReadFile(page.Page)
	require.NoError(t, err)
	assert.Regexp(t, `^# Performance\n<!-- make bench-check: begin -->\n\nMeasured by `, string(text))
	assert.Contains(t, string(text), "at "+harness.Revision()+": ")
	assert.NotContains(t, string(text), "old")
	assert.Contains(t, string(text), "\n\n<!-- make bench-check: end -->\nby hand\n")

	t.Setenv("REPORT", "-")
	require.NoError(t, run(t.Context(), o))
	again, err := os.ReadFile(page.Page)
	require.NoError(t, err)
	assert.Equal(t, string(text), string(again), "REPORT=- writes nothing")
}

func TestMissingProgramsAreAnError(t *testing.T) {
	_, err := startNodes(t.Context(), options{bin: t.TempDir(), nodes: 1})
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = measureResident(t.Context(), options{bin: t.TempDir()}, nil)
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = measureHandler(t.Context(), options{bin: t.TempDir()}, nil)
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestAProgramThatIsNotReadyIsAnError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorContains(t, waitFor(ctx, "http://127.0.0.1:1/readyz"), "the resident program is not ready")
}

func TestNodesHaveDifferentAddresses(t *testing.T) {
	urls := addresses(2000, "14265")
	assert.Equal(t, "http://127.0.1.1:14265", urls[0])
	assert.Equal(t, "http://127.0.8.250:14265", urls[1999])
	slices.Sort(urls)
	assert.Len(t, slices.Compact(urls), 2000)
}

func TestCostsAreSummarisedByMeanCPUAndMedianWallTime(t *testing.T) {
	ms := time.Millisecond
	assert.Equal(t, cost{cpu: 4 * ms, wall: 5 * ms}, summarise([]cost{{0, 5 * ms}, {10 * ms, 4 * ms}, {2 * ms, 90 * ms}}))
}

func TestTheReportComparesResultsWithTheTargets(t *testing.T) {
	o := options{runs: 300, nodes: 2000, interval: 30 * time.Second}
	single := processes{curl: cost{6 * time.Millisecond, 7 * time.Millisecond}, check: cost{3 * time.Millisecond, 4 * time.Millisecond}}
	text := report(o, single, resident{cores: 0.06, peak: 15, checks: 6000}, resident{cores: 0.04, peak: 30, checks: 4000})
	assert.Contains(t, text, "| `curl` with the same request | 6.00 ms | 7.00 ms |")
	assert.Contains(t, text, "0.50 times the CPU time of curl (target: at most 0.6; met)")
	assert.Contains(t, text, "67 processes per second | 0.200 cores")
	assert.Contains(t, text, "at most 0.05 cores (**not met**) and 40 MiB (met); for the handler: at most 0.05 cores (met)")
	assert.Contains(t, text, "4000 checks, all passing | 0.040 cores | at most 30 MiB")
}

func TestCPUTimeOfARunningProcessIncreases(t *testing.T) {
	before, err := cpuOf(os.Getpid())
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		for range 10_000_000 { // some milliseconds of CPU time
			_ = before
		}
		after, err := cpuOf(os.Getpid())
		return err == nil && after > before
	}, 10*time.Second, time.Millisecond)
	peak, err := peakOf(os.Getpid())
	require.NoError(t, err)
	assert.Positive(t, peak)
}

func TestProcessesThatDoNotExistAreAnError(t *testing.T) {
	_, err := cpuOf(1 << 30)
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = peakOf(1 << 30)
	assert.ErrorIs(t, err, os.ErrNotExist)
}
