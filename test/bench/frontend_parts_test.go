//go:build integration

package bench

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

const (
	partRounds = 4
	partLasts  = time.Second
)

var partSizes = []int{1000, 270_000}

// measureParts takes steps from a HAProxy that only forwards to the whole front end: each step has what the one before it
// has, and something more. The lines are those of the configuration.
func measureParts(t *testing.T, node string) []*frontWay {
	t.Helper()
	text := harness.PrepareHAProxies(t, []string{"127.0.0.1"}, harness.WithoutHealthChecks())[0].Configuration(t)
	buffers := cutOut(t, text, "    # A body is read completely", "    # Full rights for the handler")
	wait := linesWith(t, text, "wait-for-body")
	rules := cutOut(t, text, wait, "    # 5. ")
	bare := func(what, global, rules string) *frontWay {
		h, ports := startBare(t, node, global, rules)
		return newFrontWay(what, harness.Local(ports[0]), h.WorkerPID(t))
	}
	full := func(what string, repeatMaxRate int) *frontWay {
		h := startFrontend(t, node, failuresOnly, harness.WithVars(harness.Vars{"haproxy_repeat_max_rate": repeatMaxRate}))
		return newFrontWay(what, harness.Local(h.Port), h.WorkerPID(t))
	}
	parts := []*frontWay{
		bare("bare: forwarded as it arrives, in buffers of 16 kB", "", ""),
		bare("buffers of 1 MiB", buffers, ""),
		bare("waits for the whole body", buffers, wait),
		bare("makes a text of it (the search for a NUL, a copy)", buffers, wait+linesWith(t, rules, "set-var(txn.body)")),
		bare("finds the command, checks the grammar", buffers, rules),
		full("everything else, but nothing is repeated", 0),
		full("keeps a copy of the buffer, to repeat the request", 1_000_000),
	}
	for range partRounds {
		for _, size := range partSizes {
			inTurn(parts, func(w *frontWay) { w.rounds[size] = append(w.rounds[size], w.measure(t, size, partLasts)) })
		}
	}
	return parts
}

// cutOut is a part of a text: from the first of two texts on, up to the second.
func cutOut(t *testing.T, text, from, to string) string {
	t.Helper()
	_, rest, begins := strings.Cut(text, from)
	part, _, ends := strings.Cut(rest, to)
	require.True(t, begins && ends, "templates/haproxy.cfg.j2 has no %q with a %q after it: name here what it has now", from, to)
	return from + part
}

func linesWith(t *testing.T, text, part string) (found string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			found += line
		}
	}
	require.NotEmpty(t, found, "templates/haproxy.cfg.j2 has no line with %q: name here what it has now", part)
	return found
}

func writeParts(b *strings.Builder, parts []*frontWay) {
	fmt.Fprintf(b, "\n**Where it goes.** Microseconds of the worker's CPU time for one request, medians of %d rounds of %s. Each line has what those before it have, and something more.\n\n",
		partRounds, partLasts)
	b.WriteString("| what | 1 kB | more | 270 kB | more |\n|---|---:|---:|---:|---:|\n")
	before := map[int]float64{}
	for _, w := range parts {
		fmt.Fprintf(b, "| %s |", w.name)
		for _, size := range partSizes {
			cpu := w.middle(size, cpuTime) // ms for 1000 are µs for one
			more := ""
			if previous, ok := before[size]; ok {
				more = fmt.Sprintf("%+.0f", cpu-previous)
			}
			fmt.Fprintf(b, " %.0f | %s |", cpu, more)
			before[size] = cpu
		}
		b.WriteString("\n")
	}
}
