//go:build integration

package ha

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

var report = harness.Report{Page: "docs/high-availability.md", Section: "chaos-ha"}

// everyRowRuns: -run selects no rows.
func everyRowRuns() bool { return !strings.Contains(flag.Lookup("test.run").Value.String(), "/") }

// writeReport writes the results of a run of all rows, also when some of them have failed.
func writeReport(t *testing.T, results []result) {
	t.Helper()
	if len(results) < len(rows) {
		t.Logf("%d of %d rows have run: %s stays as it is\n%s", len(results), len(rows), report.Page, table(results))
		return
	}
	report.RequireWrite(t, harness.DescribeMachine(t, "make chaos-ha")+"\n"+table(results))
}

func table(results []result) string {
	var b strings.Builder
	b.WriteString("| # | fault | requests | failed | lost | longest gap, ms | wanted | moves | whole again | besides |\n" +
		"|---|---|---:|---:|---:|---:|---:|---:|---:|---|\n")
	for _, r := range results {
		b.WriteString(r.line())
	}
	return b.String()
}

func (r *result) line() string {
	switch {
	case r.impossible != "":
		return fmt.Sprintf("| %s | %s | not made: %s | | | | | | | |\n", r.number, r.fault, r.impossible)
	case !r.done:
		return fmt.Sprintf("| %s | %s | **FAILED before its end** | | | | | | | |\n", r.number, r.fault)
	}
	lost, gap, wanted := fmt.Sprint(r.lost), fmt.Sprint(r.longest.Milliseconds()), fmt.Sprint(r.gap.Milliseconds())
	switch {
	case r.gap == anyGap:
		wanted = "-"
	case r.longest > r.gap:
		gap = missed(gap)
	}
	if r.lost > 0 && r.gap != anyGap {
		lost = missed(lost)
	}
	return fmt.Sprintf("| %s | %s | %d | %d | %s | %s | %s | %d | %s | %s |\n", r.number, r.fault, r.sent, r.failed, lost, gap, wanted,
		r.moves, r.whole.Round(100*time.Millisecond), strings.Join(r.besides, "; "))
}

// missed marks what was not as wanted.
func missed(text string) string { return "**missed: " + text + "**" }
