//go:build integration

package bench

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// changing is how many nodes of each service fail and recover.
const changing = 8

// samples are durations of one kind.
type samples []time.Duration

func (s samples) at(share float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)]
}

func (s samples) median() time.Duration { return s.at(0.5) }

// changeResult is what was measured with n nodes.
type changeResult struct {
	nodes int
	ways  []*way
	// absent is the reason why a way was not measured, by the way's name.
	absent map[string]string
	// look is the median time of one look of the observer.
	look time.Duration
}

// measureChanges toggles TTL checks at Consul's agent and observes when HAProxy shows it, for all ways in turn.
func measureChanges(t *testing.T, n, toggles int) *changeResult {
	t.Helper()
	r := &changeResult{nodes: n, absent: map[string]string{"Data Plane API": "not in PATH"}}
	if _, err := exec.LookPath("dataplaneapi"); err == nil {
		r.absent["Data Plane API"] = "in PATH, but this benchmark does not know how to run it"
	}
	dns := harness.FreePorts(t, 1)[0]
	c := harness.StartConsul(t, fmt.Sprintf("-dns-port=%d", dns), "-hcl", "dns_config { enable_truncate = true udp_answer_limit = 100 }")
	for _, key := range []string{waysHandler, waysFloor, waysDNS, waysFastDNS, waysRender} {
		fill(t, c, serviceOf(key), changing, n)
	}
	sections := fmt.Sprintf(floorSection, n)
	withDNS := dnsHolds(t, r, dns, n)
	if withDNS {
		sections += dnsText(waysDNS, dns, n) + dnsText(waysFastDNS, dns, n)
	}
	b := harness.JoinBed(t, c, startHAProxy(t, n, sections))
	r.ways = []*way{handlerWay(t, b), floorWay(t, b, n)}
	if withDNS {
		r.ways = append(r.ways, dnsWay(b.HAProxy, waysFastDNS, "HAProxy's DNS resolvers, timeout resolve 200ms", 200*time.Millisecond),
			dnsWay(b.HAProxy, waysDNS, "HAProxy's DNS resolvers, defaults", time.Second))
	}
	if renderProgram() != "" {
		r.ways = append(r.ways, renderWay(t, c))
	} else {
		r.absent["consul-template and a reload"] = "not in PATH"
	}
	for _, w := range r.ways {
		require.Equal(t, n, w.serves(t, n, time.Minute), "nodes in service: %s", w.name)
	}
	r.look = lookTime(t, r.ways[0].observer)
	for round := range toggles {
		for _, serve := range []bool{false, true} {
			rand.Shuffle(len(r.ways), func(i, j int) { r.ways[i], r.ways[j] = r.ways[j], r.ways[i] })
			for _, w := range r.ways {
				if !w.slow(round) {
					w.toggle(t, c, round%min(changing, n), serve)
				}
			}
		}
	}
	return r
}

// slow skips four of five toggles of a way that takes seconds and does not poll.
func (w *way) slow(round int) bool {
	return w.period == 0 && w.leaving.median() > time.Second && round%5 != 0
}

// toggle sets the check of one node and records how long HAProxy took to show it.
func (w *way) toggle(t *testing.T, c *harness.Consul, i int, serve bool) {
	t.Helper()
	random := 50*time.Millisecond + rand.N(150*time.Millisecond)
	if w.period > 0 {
		random += rand.N(w.period)
	}
	harness.Keep(random) // the change comes at a random point of the way's period
	status := api.HealthCritical
	if serve {
		status = api.HealthPassing
	}
	if w.before != nil {
		w.before(i, serve)
	}
	sent := make(chan error, 1)
	began := time.Now()
	go func() { sent <- c.Agent().UpdateTTL(harness.CheckID(benchID(w.service, i)), benchOutput, status) }()
	seen := w.observer.wait(t, harness.ManyAddress(i), serve, 30*time.Second)
	require.NoError(t, <-sent)
	into, intoVerified := &w.leaving, &w.leavingVerified
	if serve {
		into, intoVerified = &w.returning, &w.returningVerified
	}
	*into = append(*into, seen.Sub(began))
	if w.verified != nil {
		// The observer may see a change later than the way itself does.
		*intoVerified = append(*intoVerified, max(w.verified(t).Sub(began), seen.Sub(began)))
	}
}

// dnsHolds reports whether one DNS answer holds n nodes. A HAProxy that cannot get them all would only use CPU time of
// the others.
func dnsHolds(t *testing.T, r *changeResult, port, n int) bool {
	t.Helper()
	if n <= 200 {
		return true
	}
	h := startHAProxy(t, 1, dnsText(waysDNS, port, n))
	defer h.Container.Remove()
	got := dnsWay(h, waysDNS, "", 0).serves(t, n, 15*time.Second)
	if got < n {
		why := fmt.Sprintf("one DNS answer of 64 KiB held %d of %d nodes", got, n)
		r.absent["HAProxy's DNS resolvers"] = why
		t.Log(why)
	}
	return got == n
}

func lookTime(t *testing.T, o *observer) time.Duration {
	t.Helper()
	var took samples
	for range 50 {
		began := time.Now()
		_, err := o.state()
		require.NoError(t, err)
		took = append(took, time.Since(began))
	}
	return took.median()
}
