//go:build integration

package failures

import (
	"flag"
	"fmt"
	"strings"
	"testing"
)

func TestFailures(t *testing.T) {
	if everyRowRuns() {
		report.RequireBegin(t)
	}
	all := configurations(t)
	started := machine(t)
	var attacks []*attack
	t.Run("attack", func(t *testing.T) {
		for _, c := range all {
			t.Run(c.key, func(t *testing.T) {
				a := &attack{configuration: c}
				attacks = append(attacks, a)
				a.run(t)
			})
		}
	})
	var results []*result
	for _, f := range faults {
		t.Run(underscores(f.name), func(t *testing.T) {
			for _, n := range failingNodes {
				t.Run(fmt.Sprintf("%d_of_%d", n, nodesEach), func(t *testing.T) {
					for _, c := range all {
						t.Run(c.key, func(t *testing.T) {
							r := &result{cell: cell{fault: f, failing: n, configuration: c}}
							results = append(results, r)
							r.run(t, r)
							t.Log(r.line())
						})
					}
				})
			}
		})
	}
	writeReport(t, started, all, results, attacks)
}

func underscores(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, ":", ""), " ", "_")
}

// everyRowRuns: -run selects no rows.
func everyRowRuns() bool { return !strings.Contains(flag.Lookup("test.run").Value.String(), "/") }
