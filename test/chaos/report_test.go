//go:build integration

package chaos

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

var report = harness.Report{Page: "docs/reliability.md", Section: "chaos"}

// writeReport writes the results of a run of all rows, also when some of them have failed.
func writeReport(t *testing.T, results []result) {
	t.Helper()
	if len(results) < len(rows) {
		t.Logf("%d of %d rows have run: %s stays as it is\n%s", len(results), len(rows), report.Page, table(results))
		return
	}
	report.RequireWrite(t, fmt.Sprintf("Made on %s by `make chaos`, commit %s, with `%s` and `%s`.\n\n%s",
		time.Now().UTC().Format("2006-01-02 15:04 UTC"), harness.Revision(), harness.HAProxyImage(), harness.ConsulImage(), table(results)))
}

func table(results []result) string {
	var b strings.Builder
	b.WriteString("| fault | mode | requests | lost | all nodes back | a change arrives afterwards |\n|---|---|---:|---:|---:|---:|\n")
	for _, r := range results {
		if !r.done {
			fmt.Fprintf(&b, "| %s | %s | FAILED before its end | | | |\n", r.name, r.mode)
			continue
		}
		lost, back := fmt.Sprint(r.lost), "-"
		if r.mayLose {
			lost += " (allowed)"
		}
		if r.away {
			back = fmt.Sprintf("%s (%d lost until then)", r.back.Round(time.Millisecond), r.empty)
		}
		fmt.Fprintf(&b, "| %s | %s | %d | %s | %s | %s |\n", r.name, r.mode, r.sent, lost, back, r.change.Round(time.Millisecond))
	}
	return b.String()
}
