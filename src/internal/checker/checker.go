package checker

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jonboulle/clockwork"
	"golang.org/x/time/rate"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/nodecheck"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/sleep"
)

// Checker checks the nodes of the catalog, and new nodes once, before Consul does. It is safe for concurrent use.
type Checker struct {
	check  func(ctx context.Context, n registry.Node) (nodecheck.Result, error)
	log    hclog.Logger
	clock  clockwork.Clock
	result func(pool.Health)

	// lines limits the log when this host reaches none of two thousand nodes.
	lines *rate.Limiter

	mu sync.Mutex
	// silenced is set while lines are left out.
	silenced bool
	// nodes are those to check.
	nodes    map[key]registry.Node
	verdicts map[key]pool.Health
	// listed and judged wake Run: the nodes, or a verdict, have changed.
	listed, judged chan struct{}
}

// key is all that a verdict is about. A node whose key changes is checked anew.
type key struct {
	id      string
	addr    netip.AddrPort
	tls     pool.TLS
	name    string
	options string
	// interval is 0 for a node that is checked once.
	interval time.Duration
}

func keyOf(n registry.Node) key {
	k := key{id: n.ID, addr: n.Addr, tls: n.TLS, name: n.SNI.String(), options: n.CheckOptions()}
	if n.Check != nil {
		k.interval = n.Check.Interval
	}
	return k
}

// maxLines is how many verdicts that change at once are a line each.
const maxLines = 50

// New makes a checker. It checks nothing yet. result is told every verdict, for metrics.
func New(runner *Runner, log hclog.Logger, clock clockwork.Clock, result func(pool.Health)) *Checker {
	return &Checker{
		check: func(ctx context.Context, n registry.Node) (nodecheck.Result, error) {
			req, err := n.Request()
			if err != nil {
				return nodecheck.Result{}, err
			}
			client, err := runner.Client(req)
			if err != nil {
				return nodecheck.Result{}, err
			}
			return runner.Check(ctx, req.Address+" "+n.CheckOptions(), client, req.Limits)
		},
		log: log, clock: clock, result: result, lines: rate.NewLimiter(rate.Every(time.Second), maxLines),
		nodes: map[key]registry.Node{}, verdicts: map[key]pool.Health{},
		listed: make(chan struct{}, 1), judged: make(chan struct{}, 1),
	}
}

// Seed takes over verdicts from before the start. One that would take a node out of service is too old for that.
func (c *Checker) Seed(nodes []registry.Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range nodes {
		if n.Check != nil && n.Health.Serves() {
			c.verdicts[keyOf(n)] = n.Health
		}
	}
}

// Judge gives the nodes of the catalog the last verdict. A node that has none yet is unchecked. A new node that has passed
// serves until Consul has a result of its own; anything else is left to Consul.
func (c *Checker) Judge(nodes []registry.Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range nodes {
		n := &nodes[i]
		if n.Check == nil && !n.New {
			continue
		}
		h, known := c.verdicts[keyOf(*n)]
		switch {
		case n.New && known && h == pool.Passing:
			n.Health = pool.Passing
		case n.New: // as Consul has it: unchecked
		case !known:
			n.Judge(pool.Unchecked)
		default:
			n.Judge(h)
		}
	}
}

// Receive takes over which nodes to check. It never blocks.
func (c *Checker) Receive(snap registry.Snapshot) {
	nodes := map[key]registry.Node{}
	for _, n := range snap.Nodes {
		if n.Check != nil || n.New {
			nodes[keyOf(n)] = n
		}
	}
	c.mu.Lock()
	c.nodes = nodes
	c.mu.Unlock()
	wake(c.listed)
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run checks the nodes until the context ends. changed is called after verdicts have changed.
func (c *Checker) Run(ctx context.Context, changed func()) {
	var group sync.WaitGroup
	defer group.Wait()
	running := map[key]context.CancelFunc{}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-c.judged:
			changed()
		case <-c.listed:
			for _, n := range c.started(ctx, running) {
				group.Go(n)
			}
		}
	}
}

// started ends the loops of nodes that are gone, and returns those that have to begin.
func (c *Checker) started(ctx context.Context, running map[key]context.CancelFunc) (loops []func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, cancel := range running {
		if _, listed := c.nodes[k]; !listed {
			cancel()
			delete(running, k)
			delete(c.verdicts, k)
		}
	}
	for k, n := range c.nodes {
		if running[k] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		running[k] = cancel
		loops = append(loops, func() { c.loop(ctx, k, n) })
	}
	return loops
}

// loop checks one node at its interval, a tenth more or less, so that nodes that were registered together spread out; a new
// node once.
func (c *Checker) loop(ctx context.Context, k key, n registry.Node) {
	for ctx.Err() == nil {
		result, err := c.check(ctx, n)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			c.note(k, n, pool.Critical, err.Error())
		default:
			c.note(k, n, health(result.Verdict()), result.Line())
		}
		if n.Check == nil {
			return
		}
		sleep.Context(ctx, c.clock, n.Check.Interval*9/10+rand.N(n.Check.Interval/5))
	}
}

func health(v nodecheck.Verdict) pool.Health {
	return map[nodecheck.Verdict]pool.Health{nodecheck.OK: pool.Passing, nodecheck.Warning: pool.Warning, nodecheck.Critical: pool.Critical}[v]
}

// note keeps a verdict, and says so when it is another one than before.
func (c *Checker) note(k key, n registry.Node, h pool.Health, line string) {
	c.result(h)
	c.mu.Lock()
	before, known := c.verdicts[k]
	_, listed := c.nodes[k]
	if listed {
		c.verdicts[k] = h
	}
	c.mu.Unlock()
	if !listed || known && before == h {
		return
	}
	what := "a node of the catalog is " + h.String()
	if n.Check == nil {
		what = "a new node serves until Consul has checked it"
		if h != pool.Passing {
			what = "a new node waits for Consul's check, because it does not pass this host's"
		}
	}
	c.log.Log(c.level(h, known), what, "node", n.ID, "address", n.Addr.String(), "check", line)
	wake(c.judged)
}

// level is that of the line about a new verdict. Two thousand lines at once help nobody.
func (c *Checker) level(h pool.Health, known bool) hclog.Level {
	if h == pool.Passing && !known {
		return hclog.Debug
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.silenced
	c.silenced = !c.lines.AllowN(c.clock.Now(), 1)
	switch {
	case c.silenced && !before:
		c.log.Warn("more nodes of the catalog have a new verdict; `iri-lb-handler status` shows all")
		return hclog.Debug
	case c.silenced:
		return hclog.Debug
	case h == pool.Passing:
		return hclog.Info
	}
	return hclog.Warn
}
