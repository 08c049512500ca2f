package failures

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

const (
	// attackRequests is how many an attacker sends, on attackConnections at once.
	attackRequests    = 1000
	attackConnections = 8
	// aftermath is for how long a node that left because of it would be away, at least.
	aftermath = 3 * time.Second
	// away: a node that gives no answer for so long has left. In service it gives 80 in a second.
	away = time.Second
)

// badParameter is answered by IRI 1.7.1 and later with status 500 and an exception, as if the node were broken.
var badParameter = command{name: "getTransactionsToApprove", body: `{"command":"getTransactionsToApprove","depth":"x"}`}

// attack is what was seen of an attacker who sends what every node answers with status 500.
type attack struct {
	*configuration
	done bool
	// exceptions are those of the answers that a node gave.
	exceptions, requests, failed int
	// left are the nodes that were away, and pause is the longest time without an answer of some node.
	left  int
	pause time.Duration
}

func (a *attack) run(t *testing.T) {
	a.ready(t)
	wallets := startWallets(a.url, commands...)
	harness.Keep(calm)
	began := time.Now()
	a.exceptions = sendExceptions(a.url)
	harness.Keep(aftermath)
	ended := time.Now()
	requests := wallets.end()
	for _, r := range requests {
		a.requests++
		if r.node == "" {
			a.failed++
		}
	}
	for _, n := range a.nodes {
		pause := longestPause(requests, n.host, began, ended)
		a.pause = max(a.pause, pause)
		if pause > away {
			a.left++
		}
	}
	logReasons(t, requests)
	a.done = true
}

// sendExceptions sends the attacker's requests as fast as it can.
func sendExceptions(url string) (answered int) {
	var group sync.WaitGroup
	var exceptions atomic.Int64
	for range attackConnections {
		group.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for range attackRequests / attackConnections {
				if r := badParameter.send(context.Background(), client, url); r.reason == "Invalid parameters" {
					exceptions.Add(1)
				}
			}
		})
	}
	group.Wait()
	return int(exceptions.Load())
}

// longestPause is the longest time without a proper answer of the node.
func longestPause(requests []request, host string, from, to time.Time) (longest time.Duration) {
	answers := []time.Time{from, to}
	for _, r := range requests {
		if at := r.began.Add(r.took); r.node == host && at.After(from) && at.Before(to) {
			answers = append(answers, at)
		}
	}
	slices.SortFunc(answers, time.Time.Compare)
	for i, at := range answers[1:] {
		longest = max(longest, at.Sub(answers[i]))
	}
	return longest
}

func TestLongestPause(t *testing.T) {
	from := time.Now()
	answer := func(host string, at time.Duration) request {
		return request{node: host, began: from.Add(at - time.Millisecond), took: time.Millisecond}
	}
	requests := []request{answer("a", 2*time.Second), answer("b", 3*time.Second), answer("a", time.Second), answer("a", 9*time.Second)}
	assert.Equal(t, 3*time.Second, longestPause(requests, "a", from, from.Add(5*time.Second)))
	assert.Equal(t, 5*time.Second, longestPause(requests, "c", from, from.Add(5*time.Second)))
}
