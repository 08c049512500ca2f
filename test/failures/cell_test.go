package failures

import (
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// How long the parts of a row take.
const (
	calm = 3 * time.Second
	// How long a fault lasts: long enough for a try of 5 s to time out where a try takes that long, and for all four tries
	// of a request where no node is left.
	shortFault   = 6 * time.Second
	longFault    = 8 * time.Second
	longestFault = 22 * time.Second
	// recovery is how long it is waited for a node that works again.
	recovery = 30 * time.Second
	// stays: a node that got a request so shortly before the end of the fault was not taken out.
	stays = 500 * time.Millisecond
)

// failingNodes are how many of a configuration's nodes fail.
var failingNodes = []int{1, 2, nodesEach}

// cell is one fault of some nodes of one configuration.
type cell struct {
	fault
	failing int
	*configuration
}

// result is what was seen of it.
type result struct {
	cell
	// done is false for a cell that did not reach its end.
	done     bool
	commands map[string]figures
	// out is when the last failing node got no more requests, from the beginning of the fault; back when each of them
	// had given a proper answer, from its end.
	out, back moment
}

// figures are those of one command.
type figures struct {
	requests, failed int
	// unexplained are those of the failed ones that got no error with a text.
	unexplained int
	// longest is the longest answer. It did not come at all if abandoned.
	longest   time.Duration
	abandoned bool
	// during are the requests that ended after the fault had begun, and tries how often nodes got them.
	during, tries int
}

// moment is a time after something, or never.
type moment struct {
	after time.Duration
	never bool
	// unknown: no wallet sent anything any more, because all of them waited for their answers.
	unknown bool
}

func (c cell) lasts() time.Duration {
	switch {
	case !c.slow:
		return shortFault
	case c.failing < nodesEach:
		return longFault
	}
	return longestFault
}

func (c cell) run(t *testing.T, seen *result) {
	c.ready(t)
	wallets := startWallets(c.url, commands...)
	harness.Keep(calm)
	failing := c.nodes[:c.failing]
	for _, n := range c.nodes {
		n.forget(t)
	}
	c.watch(t)
	began := time.Now()
	c.each(t, failing, c.begin)
	healed := false
	defer func() { // leave no node frozen behind
		if !healed {
			c.each(t, failing, c.fault.end)
		}
	}()
	harness.Keep(time.Until(began.Add(c.lasts())))
	seen.out = c.whenOut(t, failing, began)
	seen.out.unknown = !c.unseen && wallets.allWait(stays)
	c.each(t, failing, c.fault.end)
	healed = true
	seen.back = whenBack(wallets, failing, time.Now())
	requests := wallets.end()
	seen.commands = count(requests, began, c.triesOfAll(t))
	logReasons(t, requests)
	seen.done = true
}

// each begins or ends a fault at several nodes at once.
func (cell) each(t *testing.T, nodes []*node, do func(*testing.T, *node)) {
	t.Helper()
	for _, n := range nodes {
		do(t, n)
	}
}

// triesOfAll are the requests that each node has got since the fault began.
func (c *configuration) triesOfAll(t *testing.T) (all []tries) {
	t.Helper()
	for _, n := range c.nodes {
		all = append(all, n.tries(t))
	}
	return all
}

// whenOut is asked before the fault ends. The nodes themselves know when wallets' requests ceased, the same for every
// load balancer. Those that cannot know are out when the load balancer says so.
func (c cell) whenOut(t *testing.T, failing []*node, began time.Time) (out moment) {
	t.Helper()
	taken := c.takenOut(t)
	for _, n := range failing {
		at := taken[n.host]
		if c.unseen {
			out.never = out.never || at.IsZero()
		} else {
			at = n.tries(t).last()
			out.never = out.never || time.Since(at) < stays
		}
		out.after = max(out.after, at.Sub(began))
	}
	return out
}

func whenBack(wallets *load, failing []*node, healed time.Time) (back moment) {
	for time.Since(healed) < recovery {
		back = moment{}
		for _, n := range failing {
			at := wallets.answeredBy(n.host, healed)
			back.never = back.never || at.IsZero()
			back.after = max(back.after, at.Sub(healed))
		}
		if !back.never {
			return back
		}
		harness.ShortDelay()
	}
	return back
}

// count makes the figures of each command.
func count(requests []request, began time.Time, nodes []tries) map[string]figures {
	all := map[string]figures{}
	for _, r := range requests {
		f := all[r.command]
		f.add(r, began)
		all[r.command] = f
	}
	for _, seen := range nodes {
		for _, c := range commands {
			f := all[c.name]
			f.tries += seen[c.name].Requests
			all[c.name] = f
		}
	}
	return all
}

func (f *figures) add(r request, began time.Time) {
	f.requests++
	if r.node == "" {
		f.failed++
		if r.reason == "" {
			f.unexplained++
		}
	}
	if r.began.Add(r.took).After(began) {
		f.during++
	}
	if r.took > f.longest {
		f.longest, f.abandoned = r.took, r.unanswered
	}
}

// sum adds up the figures of the commands for which want holds.
func (r *result) sum(want func(command) bool) (sum figures) {
	for _, c := range commands {
		if f := r.commands[c.name]; want(c) {
			sum.requests += f.requests
			sum.failed += f.failed
			sum.unexplained += f.unexplained
			sum.during += f.during
			sum.tries += f.tries
		}
	}
	return sum
}

// different is what is another in each message: the client's port, and the number in an exception of a fake node.
var different = regexp.MustCompile(`127\.0\.0\.1:\d+->|\d{10,}`)

// logReasons shows what wallets were told.
func logReasons(t *testing.T, requests []request) {
	t.Helper()
	reasons := map[string]int{}
	for _, r := range requests {
		if r.node == "" {
			reasons[different.ReplaceAllString(fmt.Sprintf("%s: %s %q", r.command, r.seen, r.reason), "…")]++
		}
	}
	for reason, n := range reasons {
		t.Logf("%d failed: %s", n, reason)
	}
}

func TestCount(t *testing.T) {
	began := time.Now()
	requests := []request{
		{command: "getNodeInfo", began: began.Add(-time.Second), took: time.Second, node: "a"},
		{command: "getNodeInfo", began: began, took: 3 * time.Second, unanswered: true},
		{command: "getNodeInfo", began: began.Add(time.Second), took: time.Second, reason: "No node is available"},
		{command: "attachToTangle", began: began, took: time.Second, node: "a"},
	}
	nodes := []tries{{"getNodeInfo": {Requests: 2}, "attachToTangle": {Requests: 1}}, {"getNodeInfo": {Requests: 3}}}
	r := result{commands: count(requests, began, nodes)}
	info := figures{requests: 3, failed: 2, unexplained: 1, longest: 3 * time.Second, abandoned: true, during: 2, tries: 5}
	assert.Equal(t, info, r.commands["getNodeInfo"])
	assert.Equal(t, figures{requests: 4, failed: 2, unexplained: 1, during: 3, tries: 6}, r.sum(anyCommand))
}
