//go:build integration

package ha

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

const (
	// clientTimeout is how long a client waits for an answer.
	clientTimeout = 10 * time.Second
	// pace is the time between two requests of a client.
	pace = 20 * time.Millisecond
	// breath is the longest time without an answer that is no gap: on a machine with two cores an answer takes that long
	// now and then although nothing is broken.
	breath = 200 * time.Millisecond
)

// failure is a request that got no answer from a node.
type failure struct {
	target string // the virtual address or a host's own
	// good is when its connection was last known to work: its last answer, or else the request's beginning.
	began, good, ended time.Time
	why                string
}

// clients send requests to the virtual address and to each host until they are stopped: some over a connection that they
// keep, some over a new one each time.
type clients struct {
	virtual string
	done    chan struct{}
	group   sync.WaitGroup
	began   time.Time
	ended   time.Time // when they were stopped; the last requests end later

	mu       sync.Mutex
	sent     int
	answered []time.Time // at the virtual address
	failed   []failure
}

func startClients(virtual string, hosts []host) *clients {
	c := &clients{virtual: virtual, done: make(chan struct{}), began: time.Now()}
	c.keeping(virtual)
	c.keeping(virtual)
	c.fresh(virtual, pace)
	for _, h := range hosts {
		c.keeping(h.address)
		c.fresh(h.address, 5*pace)
	}
	return c
}

// keeping is a client that keeps its connection and waits for each answer.
func (c *clients) keeping(target string) {
	client := newClient(false)
	c.group.Go(func() {
		good := time.Time{}
		for tick := time.NewTicker(pace); c.goesOn(tick); {
			if c.ask(client, target, good) {
				good = time.Now()
			} else {
				good = time.Time{}
			}
		}
	})
}

// fresh are clients that come one after the other and do not wait for those before them. So a client that waits for a dead
// host hides nothing of a living one.
func (c *clients) fresh(target string, every time.Duration) {
	client := newClient(true)
	c.group.Go(func() {
		for tick := time.NewTicker(every); c.goesOn(tick); {
			c.group.Go(func() { c.ask(client, target, time.Time{}) })
		}
	})
}

// goesOn waits for the next tick; it is false when the clients have been stopped.
func (c *clients) goesOn(tick *time.Ticker) bool {
	select {
	case <-c.done:
		tick.Stop()
		return false
	case <-tick.C:
		return true
	}
}

// ask sends a request. good is when its connection last worked, zero for a new one.
func (c *clients) ask(client *http.Client, target string, good time.Time) (ok bool) {
	began := time.Now()
	if good.IsZero() {
		good = began
	}
	_, err := harness.AskWith(client, "https://"+target+":14267/")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent++
	switch {
	case err != nil:
		c.failed = append(c.failed, failure{target: target, began: began, good: good, ended: time.Now(), why: err.Error()})
	case target == c.virtual:
		c.answered = append(c.answered, time.Now())
	}
	return err == nil
}

// The certificate is one that the playbook made.
func newClient(everyRequestNew bool) *http.Client {
	return &http.Client{Timeout: clientTimeout, Transport: &http.Transport{
		DisableKeepAlives: everyRequestNew, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see above
	}}
}

// stop ends the clients when their last requests have ended.
func (c *clients) stop() {
	c.ended = time.Now()
	close(c.done)
	c.group.Wait()
}

// gap is a time without an answer at the virtual address.
type gap struct{ from, to time.Time }

func (g gap) length() time.Duration { return g.to.Sub(g.from) }

// gaps are the times without an answer that are longer than a breath.
func (c *clients) gaps() (all []gap) {
	c.mu.Lock()
	defer c.mu.Unlock()
	answered := slices.SortedFunc(slices.Values(c.answered), time.Time.Compare)
	last := c.began
	for _, now := range append(answered, c.ended) {
		if now.Sub(last) > breath {
			all = append(all, gap{last, now})
		}
		last = now
	}
	return all
}

// lost are the failures that nobody may have: those outside of gaps and moves of the address, which break the connections
// that were open then. At a host's own address they do not count once the host was hit.
func (c *clients) lost(t *testing.T, gaps []gap, hit map[string]time.Time) (count int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.failed {
		if f.excused(gaps, c.virtual, hit) {
			continue
		}
		if count++; count <= 5 {
			t.Logf("lost at %s, from %s to %s: %s", f.target, clock(f.began), clock(f.ended), f.why)
		}
	}
	return count
}

func (f failure) excused(gaps []gap, virtual string, hit map[string]time.Time) bool {
	if f.target != virtual {
		at, ok := hit[f.target]
		return ok && f.ended.After(at)
	}
	// A HAProxy that stops refuses connections while it still answers its last requests.
	return slices.ContainsFunc(gaps, func(g gap) bool { return f.good.Before(g.to) && f.ended.After(g.from.Add(-breath)) })
}

func (c *clients) figures() (sent, failed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent, len(c.failed)
}

// waitSent waits until so many more requests have ended.
func (c *clients) waitSent(t *testing.T, more int) {
	t.Helper()
	before, _ := c.figures()
	harness.Eventually(t, 30*time.Second, "the clients' requests", func() error {
		if now, _ := c.figures(); now < before+more {
			return fmt.Errorf("%d of %d", now-before, more)
		}
		return nil
	})
}

func clock(at time.Time) string { return at.Format("15:04:05.000") }
