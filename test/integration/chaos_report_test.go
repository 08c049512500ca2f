//go:build integration && chaos

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	reliability = "../../docs/reliability.md"
	chaosBegin  = "<!-- make chaos: begin -->"
	chaosEnd    = "<!-- make chaos: end -->"
)

// writeReliability puts the results between the marks of docs/reliability.md. A
// run of a part of the rows leaves the file as it is.
func writeReliability(t *testing.T, results []result) {
	t.Helper()
	if len(results) < len(rows) {
		t.Logf("%d of %d rows have run: %s stays as it is", len(results), len(rows), reliability)
		return
	}
	text, err := os.ReadFile(reliability)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), chaosBegin)
	require.True(t, ok, "%s has no mark %s", reliability, chaosBegin)
	_, after, ok := strings.Cut(rest, chaosEnd)
	require.True(t, ok, "%s has no mark %s", reliability, chaosEnd)
	require.NoError(t, os.WriteFile(reliability, []byte(before+chaosBegin+"\n"+table(results)+chaosEnd+after), 0o600))
}

func table(results []result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Made on %s by `make chaos`, commit %s, with `%s` and `%s`.\n\n", time.Now().UTC().Format("2006-01-02 15:04 UTC"),
		commit(), image("HAPROXY_IMAGE", "haproxy:3.0"), image("CONSUL_IMAGE", "hashicorp/consul:1.22.0"))
	b.WriteString("| fault | mode | requests | lost | all nodes back | a change arrives afterwards |\n|---|---|---:|---:|---:|---:|\n")
	for _, r := range results {
		if !r.done {
			fmt.Fprintf(&b, "| %s | %s | FAILED before its end | | | |\n", r.name, r.mode)
			continue
		}
		back := "-"
		if r.away {
			back = fmt.Sprintf("%s (%d lost until then)", r.back.Round(time.Millisecond), r.empty)
		}
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %s | %s |\n", r.name, r.mode, r.sent, r.lost, back, r.change.Round(time.Millisecond))
	}
	return b.String()
}

func commit() string {
	out, err := exec.Command("git", "describe", "--tags", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
