//go:build integration

package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

const (
	// wallets is how many connections send requests concurrently.
	wallets = 32
	// rateKnown is when HAProxy knows the rate of requests, and no longer keeps a copy of each if it is beyond
	// haproxy_repeat_max_rate. Bodies up to smallBody are so many that it knows at once.
	rateKnown = 1200 * time.Millisecond
	smallBody = 10_000
	// pace is the moderate rate at which latency is measured, in requests a second.
	pace = 1000
)

// throughputRounds: for each size of bodies, how many rounds each way gets and how long a round is.
var throughputRounds = []struct {
	size, times int
	lasts       time.Duration
}{
	{1000, 7, 2 * time.Second}, {100, 3, 1500 * time.Millisecond}, {270_000, 3, 1500 * time.Millisecond},
}

// frontWay is one way to a node.
type frontWay struct {
	name   string
	target target
	pid    int       // of HAProxy's worker; 0: there is no HAProxy
	bare   *frontWay // what it is compared with

	rounds map[int][]round // by the size of the body
	paced  samples
}

// round is a result with one size of body.
type round struct {
	rate float64 // requests a second
	cpu  float64 // milliseconds of HAProxy's CPU time for 1000 requests
	busy float64 // HAProxy's CPU time as a share of a core
}

// TestBenchFrontend compares the whole front end with a HAProxy that only forwards, and with the front end of an older
// commit. It sets no limits on time: it fails when a request fails.
func TestBenchFrontend(t *testing.T) {
	target := harness.Report{Page: page, Section: "bench-front"}
	target.RequireBegin(t)
	machine := harness.DescribeMachine(t, "make bench-front", fmt.Sprintf("before: HAProxy's configuration as of commit %s", harness.Base()))
	node := quickNode(t)
	ways := frontWays(t, node)
	pairs := measurePairs(t, ways.now, ways.before)
	parts := measureParts(t, node)
	for _, r := range throughputRounds {
		for range r.times {
			inTurn(ways.all, func(w *frontWay) { w.rounds[r.size] = append(w.rounds[r.size], w.measure(t, r.size, r.lasts)) })
		}
	}
	for range 4 {
		inTurn(ways.all, func(w *frontWay) { w.paced = append(w.paced, w.atPace(t, 2*time.Second)...) })
	}
	text := machine + frontReport(ways.all, pairs, parts)
	target.RequireWrite(t, text)
}

// inTurn calls f for each way, in random order.
func inTurn(ways []*frontWay, f func(w *frontWay)) {
	for _, i := range rand.Perm(len(ways)) {
		f(ways[i])
	}
}

// compared is everything that is compared.
type compared struct {
	all []*frontWay
	// now and before are this front end and the older one.
	now, before *frontWay
}

// frontWays starts everything. Every HAProxy has one thread, so that HAProxy limits the throughput, and not the core that
// is left for wallets and node.
func frontWays(t *testing.T, node string) compared {
	t.Helper()
	full := startFrontend(t, node)
	quiet := startFrontend(t, node, failuresOnly)
	older := startFrontend(t, node, failuresOnly, harness.WithBase(t))
	secured := startFrontend(t, node, failuresOnly, harness.WithVars(harness.Vars{"haproxy_https": true}))
	bare, barePorts := startBare(t, node, "", "")
	bareWay := newFrontWay("bare", harness.Local(barePorts[0]), bare.WorkerPID(t))
	bareTLS := newFrontWay("bare, TLS", harness.Local(barePorts[1]), bareWay.pid)
	bareTLS.target.tls = trusting(t, bare.WalletsCA())
	bareLog := newFrontWay("bare, with a log", harness.Local(barePorts[2]), bareWay.pid)
	way := func(name string, f *harness.HAProxy) *frontWay {
		return newFrontWay(name, harness.Local(f.Port), f.WorkerPID(t))
	}
	now, before := way("full, log of failures only", quiet), way("before, log of failures only", older)
	securedWay := way("full, log of failures only, TLS", secured)
	securedWay.target.tls = trusting(t, secured.WalletsCA())
	all := []*frontWay{newFrontWay("directly", node, 0), bareWay, bareLog, way("full", full), now, before, bareTLS, securedWay}
	for _, w := range all {
		w.bare = bareWay
	}
	bareTLS.bare, securedWay.bare = bareTLS, bareTLS
	return compared{all: all, now: now, before: before}
}

func newFrontWay(name, addr string, pid int) *frontWay {
	return &frontWay{name: name, target: target{addr: addr}, pid: pid, rounds: map[int][]round{}}
}

// failuresOnly: the log has no requests that succeeded.
var failuresOnly = harness.WithVars(harness.Vars{"haproxy_access_log": false})

// startFrontend has the defaults of group_vars, except for limits that the benchmark's only source would reach, for one
// thread, and for the health checks of the node, which answers wallets only.
func startFrontend(t *testing.T, node string, opts ...harness.Option) *harness.HAProxy {
	t.Helper()
	h := harness.StartHAProxy(t, append(opts, harness.WithoutHealthChecks(), harness.WithVars(harness.Vars{
		"haproxy_extra_global": "    nbthread 1\n", "haproxy_source_max_requests": 10_000_000, "haproxy_whitelist": []string{},
		"max_backend_slots": 100, "max_backend_tls_slots": 20, "max_pow_backend_slots": 20, "max_pow_backend_tls_slots": 5,
	}))...)
	h.Serve(t, harness.Backend, 1, node)
	return h
}

// bareText is a HAProxy that only forwards: plain, with TLS, and with a log. More lines can be put into the sections global
// and front.
const bareText = `
global
    nbthread 1
%[7]s
    log stdout format short local0
    stats socket %[1]s mode 666 level admin
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend front
    bind 127.0.0.1:%[2]d
    bind 127.0.0.1:%[3]d ssl crt %[6]s alpn h2,http/1.1
%[8]s
    default_backend nodes
frontend front_with_a_log
    bind 127.0.0.1:%[4]d
    log global
    option httplog
    default_backend nodes
backend nodes
    server node %[5]s
`

func startBare(t *testing.T, node, global, rules string) (*harness.HAProxy, []int) {
	t.Helper()
	h := harness.NewHAProxy(t)
	ports := harness.FreePorts(t, 3)
	h.Configure(t, fmt.Sprintf(bareText, h.AdminSocket(), ports[0], ports[1], ports[2], node, h.CertKey(), global, rules))
	h.Start(t)
	return h, ports
}

// measure sends requests as fast as they are answered.
func (w *frontWay) measure(t *testing.T, size int, lasts time.Duration) round {
	t.Helper()
	request := postOf("getNodeInfo", size)
	callers := w.open(t, request)
	defer closeAll(callers)
	var count atomic.Int64
	var group errgroup.Group
	ctx, stop := context.WithCancel(context.Background())
	for _, c := range callers {
		group.Go(func() error {
			for ctx.Err() == nil {
				if err := c.ok(request); err != nil {
					return err
				}
				count.Add(1)
			}
			return nil
		})
	}
	if size > smallBody {
		harness.Keep(rateKnown)
	}
	cpu, before, begun := w.cpu(t), count.Load(), time.Now()
	harness.Keep(lasts)
	n, used, took := float64(count.Load()-before), w.cpu(t)-cpu, time.Since(begun)
	stop()
	require.NoError(t, group.Wait(), w.name)
	return round{rate: n / took.Seconds(), cpu: millis(used) * 1000 / n, busy: used.Seconds() / took.Seconds()}
}

// open opens the wallets' connections and uses each of them.
func (w *frontWay) open(t *testing.T, request []byte) []*caller {
	t.Helper()
	callers := make([]*caller, wallets)
	for i := range callers {
		callers[i] = &caller{to: w.target}
		for range 10 {
			require.NoError(t, callers[i].ok(request), w.name)
		}
	}
	return callers
}

func closeAll(callers []*caller) {
	for _, c := range callers {
		c.close()
	}
}

func (w *frontWay) cpu(t *testing.T) time.Duration {
	t.Helper()
	if w.pid == 0 {
		return 0
	}
	return harness.CPUTime(t, w.pid)
}

// ok sends the request and requires the node's answer.
func (c *caller) ok(request []byte) error {
	status, err := c.do(request)
	if err == nil && status != 200 {
		err = fmt.Errorf("an allowed request was answered with status %d", status)
	}
	return err
}

// atPace sends requests at a moderate rate and returns how long each took.
func (w *frontWay) atPace(t *testing.T, lasts time.Duration) samples {
	t.Helper()
	request := postOf("getNodeInfo", 1000)
	var mu sync.Mutex
	var all samples
	var group errgroup.Group
	until := time.Now().Add(lasts)
	callers := w.open(t, request)
	defer closeAll(callers)
	for _, c := range callers {
		group.Go(func() error {
			for _, a := range paced(wallets*time.Second/pace, until, func() string { return what(c.do(request)) }) {
				if a.end != "200" {
					return fmt.Errorf("an allowed request ended with %s", a.end)
				}
				mu.Lock()
				all = append(all, a.took)
				mu.Unlock()
			}
			return nil
		})
	}
	require.NoError(t, group.Wait(), w.name)
	return all
}

// attempt is one request of a paced series.
type attempt struct {
	begun time.Time
	took  time.Duration
	end   string
}

// paced calls f at regular intervals. A call that is late because the previous one took too long counts from the time
// at which it was due.
func paced(every time.Duration, until time.Time, f func() string) []attempt {
	var all []attempt
	for due := time.Now().Add(rand.N(every)); due.Before(until); due = due.Add(every) {
		begun := due
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait) // the pace
			begun = time.Now()
		}
		end := f()
		all = append(all, attempt{begun, time.Since(begun), end})
	}
	return all
}

func millis(d time.Duration) float64 { return d.Seconds() * 1000 }
