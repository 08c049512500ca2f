//go:build integration

package chaos

import (
	"flag"
	"strings"
	"testing"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// row is one line of the table in docs/reliability.md.
type row struct {
	name string
	mode string // daemon or watch
	// acls: Consul answers only those that have a token.
	acls bool
	// do makes the fault, ends it and returns when it is over.
	do func(t *testing.T, b *bed)
	// away: HAProxy itself is down for a while. What is lost counts from when it has its nodes again.
	away bool
	// mayLose: what an operator should not do. Its losses are shown, and do not make the command fail.
	mayLose bool
}

// result is what was seen of a row.
type result struct {
	row
	sent, lost int
	// empty is how many requests were lost while HAProxy was up without nodes.
	empty int
	// done is false for a row that did not reach its end.
	done bool
	// change is how long a change took to arrive after the fault was over.
	change time.Duration
	// back is how long after its socket's first answer HAProxy had all nodes again.
	back time.Duration
}

func TestChaos(t *testing.T) {
	if everyRowRuns() {
		report.RequireBegin(t)
	}
	var results []result
	for _, r := range rows {
		t.Run(strings.ReplaceAll(r.name+", "+r.mode, " ", "_"), func(t *testing.T) {
			seen := result{row: r}
			defer func() { results = append(results, seen) }()
			r.run(t, &seen)
		})
	}
	writeReport(t, results)
}

// everyRowRuns: -run selects no rows.
func everyRowRuns() bool { return !strings.Contains(flag.Lookup("test.run").Value.String(), "/") }

func (r row) run(t *testing.T, seen *result) {
	b := newBed(t, r)
	b.load = startLoad(b.URL)
	b.load.WaitSent(t, 300)
	r.do(t, b)
	if b.note != "" {
		seen.name += ": " + b.note
	}
	seen.change = b.changeArrives(t)
	b.load.WaitSent(t, 300)
	b.requireNothingToChange(t)
	for _, load := range []*harness.Load{b.load, b.pow} {
		if load == nil {
			continue
		}
		load.End()
		t.Log(load.Figures())
		seen.sent += load.Sent()
		seen.lost += load.LostBetween(t, b.back, time.Now())
		seen.empty += load.LostBetween(t, b.answered, b.back)
	}
	seen.back = b.back.Sub(b.answered)
	seen.done = true
	if seen.lost > 0 && !r.mayLose {
		t.Errorf("%d of %d requests were lost", seen.lost, seen.sent)
	}
}

// startLoad is eight clients, half of them with a connection that they keep.
func startLoad(url string) *harness.Load {
	const clients = 8
	var send []func() error
	for i := range clients {
		client := newClient(i%2 == 0)
		send = append(send, func() error {
			_, err := harness.AskWith(client, url)
			return err
		})
	}
	return harness.StartLoad(send...)
}
