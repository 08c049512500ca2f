package checker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iri"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/iritest"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/logtest"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/nodecheck"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

// bench is a checker whose checks say what the test wants.
type bench struct {
	*Checker
	t       *testing.T
	clock   *clockwork.FakeClock
	checked chan string
	changed chan struct{}
	log     *logtest.Buffer

	mu       sync.Mutex
	verdicts map[string]nodecheck.Verdict
	err      error
	results  []pool.Health
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{
		t: t, clock: clockwork.NewFakeClock(), checked: make(chan string, 100), changed: make(chan struct{}, 100), log: &logtest.Buffer{},
		verdicts: map[string]nodecheck.Verdict{},
	}
	b.Checker = New(NewRunner(iri.Options{}, 1, 0), hclog.New(&hclog.LoggerOptions{Output: b.log}), b.clock, func(h pool.Health) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.results = append(b.results, h)
	})
	b.check = func(_ context.Context, n registry.Node) (nodecheck.Result, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		result := nodecheck.Result{Address: "http://" + n.Addr.String(), Findings: []nodecheck.Finding{{Verdict: b.verdicts[n.ID], Reason: "as the test wants"}}}
		b.checked <- n.ID
		return result, b.err
	}
	return b
}

func (b *bench) run() {
	ctx, cancel := context.WithCancel(b.t.Context())
	var group sync.WaitGroup
	group.Go(func() { b.Run(ctx, func() { b.changed <- struct{}{} }) })
	b.t.Cleanup(func() { cancel(); group.Wait() })
}

func (b *bench) set(id string, v nodecheck.Verdict, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.verdicts[id], b.err = v, err
}

// health is what the checker says of a node.
func (b *bench) health(n registry.Node) pool.Health {
	nodes := []registry.Node{n}
	b.Judge(nodes)
	return nodes[0].Health
}

func node(id string, interval time.Duration) registry.Node {
	return registry.Node{
		Node:  pool.Node{ID: id, Addr: netip.MustParseAddrPort("10.0.0.1:14265")},
		Check: &registry.Check{Interval: interval, Passing: registry.Share{Weight: 8}, Warning: registry.Share{Weight: 2}},
	}
}

func list(nodes ...registry.Node) registry.Snapshot { return registry.Snapshot{Nodes: nodes} }

func TestANodeIsCheckedAtOnceAndThenAtItsInterval(t *testing.T) {
	b := newBench(t)
	a := node("a", 10*time.Second)
	assert.Equal(t, pool.Unchecked, b.health(a), "before the first verdict")
	b.run()
	b.Receive(list(a, registry.Node{Node: pool.Node{ID: "of an agent"}}))
	assert.Equal(t, "a", <-b.checked)
	<-b.changed
	assert.Equal(t, pool.Passing, b.health(a))

	b.set("a", nodecheck.Critical, nil)
	require.NoError(t, b.clock.BlockUntilContext(t.Context(), 1))
	b.clock.Advance(8 * time.Second)
	assert.Empty(t, b.checked, "the interval is not over")
	b.clock.Advance(3 * time.Second)
	assert.Equal(t, "a", <-b.checked)
	<-b.changed
	assert.Equal(t, pool.Critical, b.health(a))
	assert.Contains(t, b.log.String(), `a node of the catalog is critical: node=a address=10.0.0.1:14265 check="CRITICAL: http://10.0.0.1:14265: as the test wants"`)

	// The same verdict again is no news.
	require.NoError(t, b.clock.BlockUntilContext(t.Context(), 1))
	b.clock.Advance(11 * time.Second)
	assert.Equal(t, "a", <-b.checked)
	require.NoError(t, b.clock.BlockUntilContext(t.Context(), 1))
	assert.Empty(t, b.changed)
	assert.Equal(t, 1, strings.Count(b.log.String(), "is critical"))
	b.mu.Lock()
	assert.Equal(t, []pool.Health{pool.Passing, pool.Critical, pool.Critical}, b.results)
	b.mu.Unlock()
}

func TestEveryVerdictHasItsHealthAndShare(t *testing.T) {
	for verdict, want := range map[nodecheck.Verdict]pool.Health{nodecheck.OK: pool.Passing, nodecheck.Warning: pool.Warning, nodecheck.Critical: pool.Critical} {
		b := newBench(t)
		b.set("a", verdict, nil)
		b.run()
		b.Receive(list(node("a", time.Minute)))
		<-b.changed
		nodes := []registry.Node{node("a", time.Minute)}
		b.Judge(nodes)
		assert.Equal(t, want, nodes[0].Health)
		assert.Equal(t, map[bool]int{true: 2, false: 8}[verdict == nodecheck.Warning], nodes[0].Weight)
	}
}

func TestACheckThatCannotBeMadeIsAFailure(t *testing.T) {
	b := newBench(t)
	b.set("a", nodecheck.OK, errors.New("not an address"))
	b.run()
	b.Receive(list(node("a", time.Minute)))
	<-b.changed
	assert.Equal(t, pool.Critical, b.health(node("a", time.Minute)))
	assert.Contains(t, b.log.String(), "not an address")
}

func TestManyNewVerdictsAreAFewLines(t *testing.T) {
	b := newBench(t)
	var nodes []registry.Node
	for i := range 90 {
		nodes = append(nodes, node(fmt.Sprint(i), time.Hour))
		b.set(fmt.Sprint(i), nodecheck.Critical, nil)
	}
	b.run()
	b.Receive(list(nodes...))
	for range nodes {
		<-b.checked
	}
	require.Eventually(t, func() bool {
		return !slices.ContainsFunc(nodes, func(n registry.Node) bool { return b.health(n) != pool.Critical })
	}, 10*time.Second, time.Millisecond)
	require.NoError(t, b.clock.BlockUntilContext(t.Context(), len(nodes)), "all loops wait for their interval")
	assert.Equal(t, maxLines, strings.Count(b.log.String(), "a node of the catalog is critical"))
	assert.Equal(t, 1, strings.Count(b.log.String(), "more nodes of the catalog have a new verdict"))
}

func TestANodeThatIsGoneIsNotCheckedAnyMore(t *testing.T) {
	b := newBench(t)
	a := node("a", 10*time.Second)
	b.run()
	b.Receive(list(a))
	<-b.changed
	<-b.checked
	b.Receive(list())
	require.Eventually(t, func() bool { return b.health(a) == pool.Unchecked }, 10*time.Second, time.Millisecond, "its verdict is forgotten")
	b.clock.Advance(time.Minute)
	assert.Empty(t, b.checked)
}

func TestANodeIsCheckedAnewWhenItsOptionsChange(t *testing.T) {
	b := newBench(t)
	b.run()
	before, after := node("a", time.Hour), node("a", time.Hour)
	after.Check = &registry.Check{Interval: time.Hour, Options: "pow=true"}
	b.Receive(list(before))
	<-b.changed
	<-b.checked
	assert.Equal(t, pool.Unchecked, b.health(after), "the verdict was on other options")
	b.Receive(list(after))
	assert.Equal(t, "a", <-b.checked)
	<-b.changed
	assert.Equal(t, pool.Passing, b.health(after))
}

func TestGoodVerdictsFromBeforeTheStartHoldUntilTheFirstCheck(t *testing.T) {
	b := newBench(t)
	good, warned, bad := node("good", time.Hour), node("warned", time.Hour), node("bad", time.Hour)
	warned.Health, bad.Health = pool.Warning, pool.Critical
	b.Seed([]registry.Node{good, warned, bad, {Node: pool.Node{ID: "of an agent"}}})
	warned.Health, bad.Health = pool.Passing, pool.Passing // as they come from Consul
	assert.Equal(t, []pool.Health{pool.Passing, pool.Warning, pool.Unchecked}, []pool.Health{b.health(good), b.health(warned), b.health(bad)})
	b.set("good", nodecheck.Critical, nil)
	b.run()
	b.Receive(list(good))
	<-b.changed
	assert.Equal(t, pool.Critical, b.health(good))
}

func TestARealNodeIsChecked(t *testing.T) {
	fake := iritest.NewServer()
	defer fake.Close()
	changed := make(chan struct{}, 10)
	c := New(NewRunner(iri.Options{}, 8, 0), hclog.NewNullLogger(), clockwork.NewFakeClock(), func(pool.Health) {})
	good, strict, broken := node("good", time.Hour), node("strict", time.Hour), node("broken", time.Hour)
	addr := netip.MustParseAddrPort(strings.TrimPrefix(fake.URL, "http://"))
	good.Addr, strict.Addr, broken.Addr = addr, addr, addr
	good.Check.Options, strict.Check.Options, broken.Check.Options = "skip-limited=true", "skip-limited=true&min-version=99.0", "min-version="
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { c.Run(ctx, func() { changed <- struct{}{} }) })
	defer group.Wait()
	defer cancel()
	c.Receive(list(good, strict, broken))
	require.Eventually(t, func() bool {
		nodes := []registry.Node{good, strict, broken}
		c.Judge(nodes)
		return nodes[0].Health == pool.Passing && nodes[1].Health == pool.Critical && nodes[2].Health == pool.Critical
	}, 10*time.Second, 5*time.Millisecond)
}

func newNode(id string) registry.Node {
	return registry.Node{Node: pool.Node{ID: id, Addr: netip.MustParseAddrPort("10.0.0.1:14265"), Health: pool.Unchecked}, New: true}
}

func TestANewNodeIsCheckedOnceAndOnlyAGoodVerdictCounts(t *testing.T) {
	for verdict, want := range map[nodecheck.Verdict]pool.Health{
		nodecheck.OK: pool.Passing, nodecheck.Warning: pool.Unchecked, nodecheck.Critical: pool.Unchecked,
	} {
		b := newBench(t)
		b.set("a", verdict, nil)
		b.run()
		a := newNode("a")
		assert.Equal(t, pool.Unchecked, b.health(a), "before the verdict")
		b.Receive(list(a))
		assert.Equal(t, "a", <-b.checked)
		<-b.changed
		assert.Equal(t, want, b.health(a))
		after := a
		after.Health = b.health(a)
		b.Receive(list(after)) // as it was published with the verdict
		b.clock.Advance(time.Hour)
		assert.Equal(t, want, b.health(a))
		assert.Empty(t, b.checked)

		consuls := a
		consuls.New, consuls.Health = false, pool.Critical
		assert.Equal(t, pool.Critical, b.health(consuls), "Consul has spoken")
		b.Receive(list(consuls))
		require.Eventually(t, func() bool { return b.health(a) == pool.Unchecked }, 10*time.Second, time.Millisecond, "its verdict is forgotten")
	}
}

func TestWhatANewNodeMustPass(t *testing.T) {
	fake := iritest.NewServer()
	defer fake.Close()
	c := New(NewRunner(iri.Options{}, 8, 0), hclog.NewNullLogger(), clockwork.NewFakeClock(), func(pool.Health) {})
	a := newNode("a")
	a.Addr = netip.MustParseAddrPort(strings.TrimPrefix(fake.URL, "http://"))
	check := func() nodecheck.Verdict {
		result, err := c.check(t.Context(), a)
		require.NoError(t, err)
		return result.Verdict()
	}
	assert.Equal(t, nodecheck.OK, check())
	a.Pools = []string{registry.DefaultPool, registry.PoWPool}
	assert.Equal(t, nodecheck.Critical, check(), "it does not do proof of work")
	a.Pools = nil
	fake.Update(func(s *iritest.State) { s.Behind = 5 })
	assert.Equal(t, nodecheck.Critical, check())
}
