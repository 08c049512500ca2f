package registry

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
)

// script answers Consul's queries one after the other, and holds the one after the last, as a blocking query does.
type script struct {
	mu      sync.Mutex
	steps   []func(w http.ResponseWriter, r *http.Request)
	queries []string
	held    chan struct{}
}

func (s *script) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	query := r.URL.Query()
	if query.Has("consistent") {
		s.queries = append(s.queries, "consistent")
	} else {
		s.queries = append(s.queries, query.Get("index"))
	}
	if len(s.steps) == 0 {
		s.mu.Unlock()
		select {
		case s.held <- struct{}{}:
		default:
		}
		<-r.Context().Done()
		return
	}
	step := s.steps[0]
	s.steps = s.steps[1:]
	s.mu.Unlock()
	step(w, r)
}

func (s *script) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queries
}

func nodesAt(index int, services ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { list(w, index, services...) }
}

func failure(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no leader", 500) }

// reporter counts what it is told.
type reporter struct {
	mu               sync.Mutex
	answered, failed int
}

func (r *reporter) Answered()    { r.mu.Lock(); defer r.mu.Unlock(); r.answered++ }
func (r *reporter) Failed(error) { r.mu.Lock(); defer r.mu.Unlock(); r.failed++ }

// watched runs a watcher through the script and returns what it published until the last query is held.
type watched struct {
	*Watcher
	script    *script
	clock     *clockwork.FakeClock
	status    *reporter
	log       *bytes.Buffer
	published chan Snapshot
}

func watch(t *testing.T, lookup LookupFunc, steps ...func(http.ResponseWriter, *http.Request)) *watched {
	t.Helper()
	return watchWith(t, lookup, func(*Watcher) {}, steps...)
}

// watchWith prepares the watcher before it runs.
func watchWith(t *testing.T, lookup LookupFunc, prepare func(*Watcher), steps ...func(http.ResponseWriter, *http.Request)) *watched {
	t.Helper()
	w := &watched{
		script: &script{steps: steps, held: make(chan struct{}, 1)}, clock: clockwork.NewFakeClock(), status: &reporter{},
		log: &bytes.Buffer{}, published: make(chan Snapshot, 100),
	}
	consul := newConsul(t, w.script.serve)
	log := hclog.New(&hclog.LoggerOptions{Output: w.log, Mutex: &sync.Mutex{}})
	w.Watcher = NewWatcher(consul.client(t, "secret"), lookup, log, w.clock, w.status)
	prepare(w.Watcher)
	w.Subscribe(func(s Snapshot) { w.published <- s })
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { w.Watch(ctx) })
	group.Go(func() { w.Refresh(ctx) })
	t.Cleanup(func() { cancel(); group.Wait() })
	return w
}

// untilHeld lets time pass until the last query is held.
func (w *watched) untilHeld(t *testing.T) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case <-w.script.held:
			return
		case <-deadline:
			t.Fatal("the last query never came")
		default:
			w.clock.Advance(maxBackoff)
			time.Sleep(time.Millisecond) // polls
		}
	}
}

// untilTicking waits until Refresh has its tickers, and Watch its query.
func (w *watched) untilTicking(t *testing.T) {
	t.Helper()
	require.NoError(t, w.clock.BlockUntilContext(t.Context(), 2))
}

func (w *watched) all() []Snapshot {
	var all []Snapshot
	for {
		select {
		case s := <-w.published:
			all = append(all, s)
		default:
			return all
		}
	}
}

func TestEachNewAnswerIsPublishedOnce(t *testing.T) {
	w := watch(t, nil, nodesAt(5, service("a", "passing")), nodesAt(5, service("a", "passing")), nodesAt(6))
	w.untilHeld(t)
	all := w.all()
	require.Len(t, all, 2, "the second was no news")
	assert.Equal(t, []uint64{5, 6}, []uint64{all[0].Index, all[1].Index})
	assert.True(t, all[0].Complete)
	assert.Equal(t, all[0].Epoch, all[1].Epoch)
	assert.Equal(t, []string{"", "5", "5", "6"}, w.script.seen())
}

func TestAfterAFailureConsulMayHaveLostData(t *testing.T) {
	w := watch(t, nil, nodesAt(5), failure, failure, nodesAt(6))
	w.untilHeld(t)
	all := w.all()
	require.Len(t, all, 2)
	assert.Equal(t, all[0].Epoch+1, all[1].Epoch)
	assert.Equal(t, []string{"", "5", "", "", "6"}, w.script.seen(), "it begins again without an index")
	assert.Equal(t, [2]int{2, 2}, [2]int{w.status.answered, w.status.failed})
}

func TestAnIndexThatGoesBackStartsANewEpoch(t *testing.T) {
	w := watch(t, nil, nodesAt(50), nodesAt(3), nodesAt(3), nodesAt(4))
	w.untilHeld(t)
	all := w.all()
	require.Len(t, all, 3)
	assert.Equal(t, []int{0, 1, 1}, []int{all[0].Epoch, all[1].Epoch, all[2].Epoch})
	assert.Equal(t, []string{"", "50", "consistent", "", "4"}, w.script.seen())
	assert.Contains(t, w.log.String(), "it may have lost data")
}

// Seen with Consul 1.22 after kill -9: index 1 and no service, a quarter of a second before the whole list.
func TestALeaderThatHasNotReplayedItsLogRemovesNothing(t *testing.T) {
	w := watch(t, nil, nodesAt(50, service("a", "passing")), failure, nodesAt(1), failure, nodesAt(1), nodesAt(50, service("a", "passing")))
	w.untilHeld(t)
	for _, snap := range w.all() {
		assert.Len(t, snap.Nodes, 1)
	}
	assert.Equal(t, []string{"", "50", "", "consistent", "", "consistent", "50"}, w.script.seen())
	assert.Equal(t, 2, w.status.failed, "a leader that cannot be asked has said nothing")
	assert.NotContains(t, w.log.String(), "it may have lost data")
}

func TestARestartEndsTheQueryInFlight(t *testing.T) {
	w := watch(t, nil, nodesAt(5))
	w.untilHeld(t)
	w.Restart()
	w.untilHeld(t)
	assert.Equal(t, []string{"", "5", ""}, w.script.seen())
	assert.Zero(t, w.status.failed)
}

func TestANewNameIsLookedUpAtOnceAndAgainAtTheInterval(t *testing.T) {
	var mu sync.Mutex
	addr := "10.0.0.2"
	lookup := func(context.Context, string) ([]netip.Addr, error) {
		mu.Lock()
		defer mu.Unlock()
		return []netip.Addr{netip.MustParseAddr(addr)}, nil
	}
	byName := strings.ReplaceAll(service("a", "passing"), `"Address":"10.0.0.1"`, `"Address":"node.example"`)
	w := watch(t, lookup, nodesAt(5, byName))
	first := <-w.published
	assert.Empty(t, first.Nodes)
	assert.False(t, first.Complete)
	second := <-w.published
	require.Len(t, second.Nodes, 1)
	assert.Equal(t, "10.0.0.2:14265", second.Nodes[0].Addr.String())
	mu.Lock()
	addr = "10.0.0.3"
	mu.Unlock()
	w.clock.Advance(refreshInterval)
	third := <-w.published
	assert.Equal(t, "10.0.0.3:14265", third.Nodes[0].Addr.String())
	assert.Equal(t, second.Epoch, third.Epoch)
}

func TestOnceAndConfirmWaitForNamesThatAreNotKnown(t *testing.T) {
	byName := strings.ReplaceAll(service("a", "passing"), `"Address":"10.0.0.1"`, `"Address":"node.example"`)
	c := newConsul(t, nodesAt(5, byName))
	d := &dns{addrs: []string{"10.0.0.2"}}
	w := NewWatcher(c.client(t, "secret"), d.lookup, hclog.NewNullLogger(), clockwork.NewFakeClock(), &reporter{})
	for _, query := range []func(context.Context) (Snapshot, error){w.Once, w.Confirm} {
		snap, err := query(t.Context())
		require.NoError(t, err)
		require.Len(t, snap.Nodes, 1)
		assert.Equal(t, "10.0.0.2:14265", snap.Nodes[0].Addr.String())
		assert.True(t, snap.Complete)
	}
	assert.Equal(t, 1, d.asked)
	c.answer = failure
	_, err := w.Once(t.Context())
	assert.Error(t, err)
}

// unrun is a service as Consul shows it before its check has run, and for ever when the check fails without output.
func unrun(id string) string {
	s := strings.ReplaceAll(service(id, "critical"), `"Output":"it said: \"]}\""`, `"Output":"","Type":"script","Interval":"10s","Timeout":"2s"`)
	return s
}

func TestACheckThatFailsWithoutOutputCountsAsFailedAfterItsInterval(t *testing.T) {
	w := watch(t, nil, nodesAt(5, unrun("a"), service("b", "passing")))
	first := <-w.published
	require.Equal(t, pool.Unchecked, first.Nodes[0].Health)
	assert.Empty(t, first.Problems)
	w.untilTicking(t)
	w.clock.Advance(41 * time.Second)
	select {
	case s := <-w.published:
		t.Fatalf("too early: %+v", s)
	default:
	}
	w.clock.Advance(time.Second)
	second := <-w.published
	assert.Equal(t, pool.Critical, second.Nodes[0].Health)
	assert.Equal(t, pool.Passing, second.Nodes[1].Health)
	assert.Contains(t, fmt.Sprint(second.Problems), "critical without output for longer than its interval and its timeout (in all 42s)")
}

// What Consul said last before it was away is no verdict, however old it is: checks have not run meanwhile.
func TestNoCheckIsOverdueWhileConsulIsAway(t *testing.T) {
	w := watch(t, nil, nodesAt(5, unrun("a")), failure)
	require.Equal(t, pool.Unchecked, (<-w.published).Nodes[0].Health)
	require.NoError(t, w.clock.BlockUntilContext(t.Context(), 3), "Refresh has two tickers, and Watch pauses after the failure")
	w.untilHeld(t)
	w.clock.Advance(time.Minute)
	assert.Never(t, func() bool { return len(w.published) > 0 }, 200*time.Millisecond, 10*time.Millisecond)
}

func TestACheckThatGetsItsResultStartsAnew(t *testing.T) {
	u := &unchecked{clock: clockwork.NewFakeClock()}
	node := func(h pool.Health) []Node {
		return []Node{{FirstCheckWithin: 10 * time.Second, Node: pool.Node{ID: "a", Health: h}}}
	}
	u.judge(node(pool.Unchecked))
	u.clock.(*clockwork.FakeClock).Advance(39 * time.Second)
	assert.False(t, u.overdue())
	u.judge(node(pool.Passing))
	again := node(pool.Unchecked)
	assert.Empty(t, u.judge(again))
	u.clock.(*clockwork.FakeClock).Advance(39 * time.Second)
	assert.False(t, u.overdue())
	u.clock.(*clockwork.FakeClock).Advance(time.Second)
	assert.True(t, u.overdue())
	assert.Len(t, u.judge(again), 1)
	assert.False(t, u.overdue(), "it is judged")
}

// The agent has the results of its checks; its servers get them when it is back.
func TestNoCheckIsOverdueWhileItsAgentIsDead(t *testing.T) {
	u := &unchecked{clock: clockwork.NewFakeClock()}
	node := func(agent string) []Node {
		within := firstCheckWithin(fmt.Appendf(nil, `{"Checks":[{"Interval":"10s","Timeout":"2s"},{"CheckID":"serfHealth","Status":%q}]}`, agent))
		return []Node{{FirstCheckWithin: within, Node: pool.Node{ID: "a", Health: pool.Unchecked}}}
	}
	u.judge(node("passing"))
	u.clock.(*clockwork.FakeClock).Advance(41 * time.Second)
	assert.Empty(t, u.judge(node("critical")))
	u.clock.(*clockwork.FakeClock).Advance(time.Hour)
	assert.False(t, u.overdue())
	assert.Empty(t, u.judge(node("passing")), "its time begins anew")
	u.clock.(*clockwork.FakeClock).Advance(42 * time.Second)
	assert.Len(t, u.judge(node("passing")), 1)
}

func TestTheTimeForAFirstResult(t *testing.T) {
	for checks, want := range map[string]time.Duration{
		`[{"Interval":"30s","Timeout":"10s"},{"Interval":"1m"}]`: 90 * time.Second,
		`[{"Interval":"30s","Timeout":"10s"}]`:                   40 * time.Second,
		`[{"Interval":"10s","Timeout":"0s"}]`:                    40 * time.Second,
		`[{"Interval":"","Timeout":""}]`:                         defaultInterval,
		`[]`:                                                     defaultInterval,
		`5`:                                                      defaultInterval,
	} {
		assert.Equal(t, want, firstCheckWithin([]byte(`{"Checks":`+checks+`}`)), checks)
	}
}

func TestAReplacedTokenEndsTheQueryInFlight(t *testing.T) {
	tokens := make(chan string, 10)
	held := make(chan struct{}, 10)
	c := newConsul(t, func(w http.ResponseWriter, r *http.Request) {
		tokens <- r.Header.Get("X-Consul-Token")
		if r.URL.Query().Has("index") {
			held <- struct{}{}
			<-r.Context().Done()
			return
		}
		list(w, 5)
	})
	client, clock := c.client(t, "old"), clockwork.NewFakeClock()
	w := NewWatcher(client, nil, hclog.NewNullLogger(), clock, &reporter{})
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { w.Watch(ctx) })
	group.Go(func() { w.Refresh(ctx) })
	t.Cleanup(func() { cancel(); group.Wait() })
	<-held
	assert.Equal(t, []string{"old", "old"}, []string{<-tokens, <-tokens})
	require.NoError(t, os.WriteFile(client.tokenFile, []byte("new\n"), 0o600))
	require.Eventually(t, func() bool {
		clock.Advance(time.Second)
		return len(tokens) > 0
	}, 10*time.Second, time.Millisecond)
	assert.Equal(t, "new", <-tokens)
}

func TestANodeIsNewUntilItsCheckHasRun(t *testing.T) {
	for name, test := range map[string]struct {
		steps []func(http.ResponseWriter, *http.Request)
		// want are the new nodes of each snapshot.
		want []string
	}{
		"registered while this program watches": {
			[]func(http.ResponseWriter, *http.Request){
				nodesAt(5, service("a", "passing")), nodesAt(6, service("a", "passing"), unrun("b")), nodesAt(7, service("a", "critical"), unrun("b")),
				nodesAt(8, service("a", "passing"), service("b", "passing")), nodesAt(9, unrun("a"), unrun("b")),
			},
			[]string{"", "b", "b", "", ""},
		},
		"the first of all": {[]func(http.ResponseWriter, *http.Request){nodesAt(5), nodesAt(6, unrun("b"))}, []string{"", "b"}},
		"there when this program was started": {
			[]func(http.ResponseWriter, *http.Request){nodesAt(5, unrun("b")), nodesAt(6, unrun("b"), service("a", "passing"))}, []string{"", ""},
		},
		"Consul was away": {
			[]func(http.ResponseWriter, *http.Request){nodesAt(5, service("a", "critical")), failure, nodesAt(6, unrun("a"), unrun("b")), nodesAt(7, unrun("a"), unrun("b"), unrun("c"))},
			[]string{"", "", "c"},
		},
		"Consul was away before it had run the check": {
			[]func(http.ResponseWriter, *http.Request){nodesAt(5), nodesAt(6, unrun("b")), failure, nodesAt(7, unrun("b"))}, []string{"", "b", ""},
		},
		"the index went back": {
			[]func(http.ResponseWriter, *http.Request){nodesAt(50, service("a", "passing")), nodesAt(3, unrun("b")), nodesAt(3, unrun("b")), nodesAt(4, unrun("b"))},
			[]string{"", "", ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := watch(t, nil, test.steps...)
			w.untilHeld(t)
			var got []string
			for _, snap := range w.all() {
				added := ""
				for _, n := range snap.Nodes {
					if n.New {
						added += n.ID
					}
				}
				got = append(got, added)
			}
			assert.Equal(t, test.want, got[:len(test.want)])
		})
	}
}

func TestANodeWhoseFirstCheckIsOverdueIsNotNew(t *testing.T) {
	u := &unchecked{clock: clockwork.NewFakeClock()}
	u.list(nil, false)
	b := Node{Node: pool.Node{ID: "b", Health: pool.Unchecked}, FirstCheckWithin: time.Minute}
	u.list([]Node{b}, false)
	judged := func() Node {
		nodes := []Node{b}
		u.judge(nodes)
		return nodes[0]
	}
	assert.True(t, judged().New)
	u.clock.(*clockwork.FakeClock).Advance(time.Minute + deliveryOfNew - time.Second)
	assert.True(t, judged().New)
	u.clock.(*clockwork.FakeClock).Advance(time.Second)
	assert.Equal(t, pool.Critical, judged().Health)
	assert.False(t, judged().New)
	b.FirstCheckWithin = 0 // its agent is dead: no result is to be expected
	assert.False(t, judged().New)
}
