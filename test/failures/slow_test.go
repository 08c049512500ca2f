//go:build integration

package failures

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

const (
	// How long nodes take for an answer: all but one, and the first.
	quick = 20 * time.Millisecond
	slow  = 10 * quick

	slowRounds = 3
	slowWarmUp = 2 * time.Second
	slowLasts  = 6 * time.Second
)

// choice is a way to choose among the nodes.
type choice struct {
	name string
	// weights: each node's is set by how long HAProxy has seen it take.
	weights bool
	*harness.HAProxy
}

// strain is what wallets send all the time, each at its pace or as fast as it is answered if that is slower.
type strain struct {
	command
	backend string
	// state has a node take some time for the command. Proof of work is done one after the other.
	state string
}

func strains() (all []strain) {
	for _, s := range []strain{
		{commands[0], harness.Backend, `{"delay": %q, "powTime": "0s"}`},
		{commands[3], harness.PoWBackend, `{"delay": "0s", "powTime": %q}`},
	} {
		for _, wallets := range []int{5, 100} {
			s.wallets, s.every = wallets, 100*time.Millisecond
			all = append(all, s)
		}
	}
	return all
}

// slowResult is what was seen of one choice under one strain.
type slowResult struct {
	failed, bySlow int
	took           []time.Duration
	// weights are those that were set last.
	weights []string
}

// TestSlowNodes measures what wallets notice of a slow node with each way to choose among nodes. It sets no limits.
func TestSlowNodes(t *testing.T) {
	target := harness.Report{Page: report.Page, Section: "slow-nodes"}
	target.RequireBegin(t)
	text := harness.DescribeMachine(t, "make slow-nodes", fmt.Sprintf("%d rounds of %s for each line, after %s of the same requests", slowRounds, slowLasts, slowWarmUp))
	var hosts []string
	for i := range nodesEach {
		hosts = append(hosts, fmt.Sprint("127.0.8.", i+1))
		harness.StartNode(t, hosts[i], "-pow")
	}
	choices := []*choice{
		startChoice(t, "roundrobin", "roundrobin", hosts), startChoice(t, "leastconn", "leastconn", hosts),
		startChoice(t, "roundrobin with weights by HAProxy's times", "roundrobin", hosts),
	}
	choices[2].weights = true
	var b strings.Builder
	b.WriteString(text + "\n" + slowHead)
	for _, s := range strains() {
		for _, host := range hosts[1:] {
			harness.SetNode(t, host, fmt.Sprintf(s.state, quick))
		}
		harness.SetNode(t, hosts[0], fmt.Sprintf(s.state, slow))
		results := make([]slowResult, len(choices))
		for round := range slowRounds {
			for i := range choices { // none of them is always the first
				n := (i + round) % len(choices)
				choices[n].measure(t, s, hosts[0], &results[n])
			}
		}
		for i, c := range choices {
			b.WriteString(results[i].line(s, c.name))
		}
	}
	target.RequireWrite(t, b.String())
}

// startChoice has both pools on the same nodes, and HAProxy's own checks of them as installed.
func startChoice(t *testing.T, name, balance string, hosts []string) *choice {
	t.Helper()
	h := harness.StartHAProxy(t, harness.WithVars(harness.Vars{
		"haproxy_access_log": false, "haproxy_check_timeout": nil,
		"haproxy_balance": balance, "haproxy_pow_balance": balance,
		// No wallet is refused because others wait.
		"max_connections_pow_backend": 200,
	}))
	for _, backend := range []string{harness.Backend, harness.PoWBackend} {
		for i, host := range hosts {
			h.Serve(t, backend, i+1, harness.At(host))
		}
	}
	lb := &haproxy{HAProxy: h}
	harness.Eventually(t, time.Minute, name+" has all its nodes", lb.takesAll)
	return &choice{name: name, HAProxy: h}
}

func (c *choice) measure(t *testing.T, s strain, slowHost string, r *slowResult) {
	t.Helper()
	if c.weights {
		c.setWeights(t, s.backend, slices.Repeat([]string{"100"}, nodesEach))
	}
	c.send(s.command, slowWarmUp)
	if c.weights {
		r.weights = c.weightsByTimes(t, s.backend)
		c.setWeights(t, s.backend, r.weights)
	}
	for _, one := range c.send(s.command, slowLasts) {
		switch one.node {
		case "":
			r.failed++
		case slowHost:
			r.bySlow++
		}
		r.took = append(r.took, one.took)
	}
}

func (c *choice) send(what command, lasts time.Duration) []request {
	wallets := startWallets(c.URL, what)
	harness.Keep(lasts)
	return wallets.end()
}

// weightsByTimes gives the quickest node 100 and each other one as much less as it takes longer, by HAProxy's average of
// the last 1024 answers.
func (c *choice) weightsByTimes(t *testing.T, backend string) (weights []string) {
	t.Helper()
	var times []float64
	for n := range nodesEach {
		took, err := strconv.ParseFloat(c.Stat(t, backend, slotName(n))["rtime"], 64)
		require.NoError(t, err)
		times = append(times, max(1, took))
	}
	for _, took := range times {
		weights = append(weights, fmt.Sprintf("%.0f", max(1, 100*slices.Min(times)/took)))
	}
	return weights
}

func (c *choice) setWeights(t *testing.T, backend string, weights []string) {
	t.Helper()
	for n, weight := range weights {
		answer, err := c.Command(fmt.Sprintf("set server %s/%s weight %s", backend, slotName(n), weight))
		require.NoError(t, err)
		require.Empty(t, strings.TrimSpace(answer))
	}
}

// slotName is the slot of the n-th node, counted from 0.
func slotName(n int) string { return fmt.Sprint("http", n+1) }

const slowHead = "| command | wallets | choice | requests | failed | median, ms | p95, ms | p99, ms | of them at the slow node |\n" +
	"|---|---:|---|---:|---:|---:|---:|---:|---:|\n"

func (r *slowResult) line(s strain, name string) string {
	if r.weights != nil {
		name += ": " + strings.Join(r.weights, ", ")
	}
	slices.Sort(r.took)
	at := func(share float64) int64 { return r.took[int(share*float64(len(r.took)))].Milliseconds() }
	return fmt.Sprintf("| %s | %d | %s | %d | %d | %d | %d | %d | %.1f %% |\n", s.name, s.wallets, name, len(r.took), r.failed,
		at(0.5), at(0.95), at(0.99), 100*float64(r.bySlow)/float64(len(r.took)))
}
