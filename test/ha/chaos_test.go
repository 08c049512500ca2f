//go:build integration

package ha

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// row is one line of the table in docs/high-availability.md.
type row struct {
	number string
	fault  string
	// gap is the longest time without an answer at the virtual address that is wanted; anyGap if nothing is.
	gap time.Duration
	// before prepares the fault, before the clients start.
	before func(t *testing.T, b *bed)
	// do makes the fault and ends it, or leaves that to what is tested.
	do func(t *testing.T, b *bed, seen *result)
	// impossible says why the fault cannot be made with containers; do is nil then.
	impossible string
	// handMade: what is broken is not mended by itself.
	handMade bool
}

const (
	anyGap = time.Duration(-1)
	// takeover is wanted where the address has to move because its host is gone, planned where HAProxy or keepalived
	// can say so.
	takeover = 1500 * time.Millisecond
	planned  = 300 * time.Millisecond
)

// result is what was seen of a row.
type result struct {
	row
	sent, failed, lost int
	longest            time.Duration
	moves              int
	// whole is how long it took from the fault's end until everything was as before.
	whole time.Duration
	// over is when the fault ended; until is the end of what counts for the gap, zero for the row's end.
	over, until time.Time
	// done is false for a row that did not reach its end.
	done bool
	// besides is what else was wanted of the row, and whether it was seen.
	besides []string
	wrong   []error
}

// check notes whether something was as wanted.
func (r *result) check(what string, err error) {
	if err != nil {
		r.wrong = append(r.wrong, fmt.Errorf("%s: %w", what, err))
		what = missed(what)
	}
	r.besides = append(r.besides, what)
}

// within notes how long something took. Too long is shown, and does not make the command fail: the machine may be busy.
func (r *result) within(what string, took, wanted time.Duration) {
	text := fmt.Sprintf("%s after %s (wanted: %s)", what, took.Round(10*time.Millisecond), wanted)
	if took > wanted {
		text = missed(text)
	}
	r.besides = append(r.besides, text)
}

// atMost notes a number that has a limit. More is shown, and does not make the command fail.
func (r *result) atMost(what string, number, limit int) {
	text := fmt.Sprintf("%s: %d (wanted: at most %d)", what, number, limit)
	if number > limit {
		text = missed(text)
	}
	r.besides = append(r.besides, text)
}

func (r *result) ended() { r.over = time.Now() }

func TestChaosHA(t *testing.T) {
	if everyRowRuns() {
		report.RequireBegin(t)
	}
	b := newBed(t)
	var results []result
	for _, r := range rows {
		t.Run(r.number, func(t *testing.T) {
			seen := result{row: r}
			defer func() { results = append(results, seen) }()
			if r.impossible != "" {
				t.Skip(r.impossible)
			}
			r.run(t, b, &seen)
		})
	}
	writeReport(t, results)
}

func (r row) run(t *testing.T, b *bed, seen *result) {
	t.Log(r.fault)
	b.mend(t)
	b.waitVoters(t)
	b.hit = map[string]time.Time{}
	if r.before != nil {
		r.before(t, b)
	}
	b.address.reset()
	c := startClients(virtualAddress, b.hosts)
	stop := sync.OnceFunc(c.stop)
	t.Cleanup(stop)
	c.waitSent(t, 100)
	began := time.Now()
	seen.over = began
	r.do(t, b, seen)
	if seen.impossible != "" {
		t.Skip(seen.impossible)
	}
	if err := b.becomesWhole(90 * time.Second); err != nil && !r.handMade {
		seen.check("whole again without a hand", err)
	}
	seen.whole = time.Since(seen.over)
	c.waitSent(t, 100)
	stop()
	seen.count(t, b, c, began)
	for _, err := range seen.wrong {
		t.Error(err)
	}
	if seen.lost > 0 && r.gap != anyGap {
		t.Errorf("%d of %d requests were lost", seen.lost, seen.sent)
	}
}

// count takes the figures of the clients and the address.
func (r *result) count(t *testing.T, b *bed, c *clients, began time.Time) {
	gaps := c.gaps()
	moves, changes, log := b.address.counted()
	t.Logf("the address:\n%s", log)
	r.moves = moves
	for _, g := range gaps {
		if g.length() > 300*time.Millisecond {
			t.Logf("no answer at the virtual address for %s, from %s to %s", g.length().Round(time.Millisecond), clock(g.from), clock(g.to))
		}
		if g.to.After(began) && (r.until.IsZero() || g.from.Before(r.until)) {
			r.longest = max(r.longest, g.length())
		}
	}
	r.sent, r.failed = c.figures()
	for _, at := range changes {
		gaps = append(gaps, gap{at, at})
	}
	r.lost = c.lost(t, gaps, b.hit)
	r.done = true
	t.Log(r.line())
}

// changeArrives is how long a node that is registered at one host takes until these have it in service.
func (b *bed) changeArrives(t *testing.T, at host, until ...host) (took time.Duration, err error) {
	t.Helper()
	began := time.Now()
	extra := node(nodeCount + 1)
	at.registerWith(t, `"TTL": "1h", "Status": "passing"`, extra)
	for _, h := range until {
		for wrong := errors.New("not yet"); wrong != nil; {
			if time.Since(began) > 30*time.Second {
				return 0, fmt.Errorf("a change does not arrive: %s: %w", h.name, wrong)
			}
			var slots map[string]int
			if slots, wrong = h.serving(); wrong == nil {
				wrong = wrongSlots(slots, extra)
			}
		}
	}
	took = time.Since(began)
	at.deregister(t, extra)
	return took, nil
}

// change notes how long a change takes.
func (r *result) change(t *testing.T, b *bed, wanted time.Duration, at host, until ...host) {
	t.Helper()
	took, err := b.changeArrives(t, at, until...)
	if err != nil {
		r.check("a change arrives", err)
		return
	}
	r.within("a change arrives", took, wanted)
}

// watchSlots looks at the hosts' slots until it is stopped, and returns the first thing that was wrong with them.
func (b *bed) watchSlots(hosts ...host) (stop func() error) {
	done, result := make(chan struct{}), make(chan error)
	go func() {
		var wrong error
		for range time.Tick(500 * time.Millisecond) {
			for _, h := range hosts {
				// Without an answer nothing is known.
				if slots, err := h.serving(); wrong == nil && err == nil {
					if err := wrongSlots(slots, nodes()...); err != nil {
						wrong = fmt.Errorf("%s: %w", h.name, err)
					}
				}
			}
			select {
			case <-done:
				result <- wrong
				return
			default:
			}
		}
	}()
	return func() error { close(done); return <-result }
}

// keep lets a fault last, with the hosts' slots as they are.
func (b *bed) keep(seen *result, lasts time.Duration, hosts ...host) {
	stop := b.watchSlots(hosts...)
	harness.Keep(lasts) // how long the fault lasts
	seen.check("no node leaves", stop())
}

// stays notes whether the address has stayed.
func (r *result) stays(b *bed) {
	if moves, _, _ := b.address.counted(); moves > 0 {
		r.check("the address stays", fmt.Errorf("it has moved %d times", moves))
		return
	}
	r.check("the address stays", nil)
}
