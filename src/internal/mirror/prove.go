package mirror

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
)

const (
	// probeTimeout bounds the query of one node.
	probeTimeout = time.Second
	// maxProbes is how many nodes are queried at once.
	maxProbes = 64
)

// Probe queries the node of a slot as HAProxy's own check does, from the same host. nil means that it answers.
type Probe func(ctx context.Context, in pool.In) error

// prover queries nodes that wait for HAProxy's first check. That check comes up to its whole interval later: HAProxy does
// not shorten the first one (seen with 2.6 to 3.2, `downinter` or not).
type prover struct {
	probe Probe
	group sync.WaitGroup

	mu     sync.Mutex
	proven []pool.In
	// ready has an element while there are proven slots.
	ready chan struct{}
}

func newProver(probe Probe) *prover { return &prover{probe: probe, ready: make(chan struct{}, 1)} }

// start queries the nodes without waiting for them.
func (p *prover) start(ctx context.Context, slots []pool.In) {
	if len(slots) > 0 {
		p.group.Go(func() { p.run(ctx, slots) })
	}
}

// run queries the nodes and waits for all of them.
func (p *prover) run(ctx context.Context, slots []pool.In) {
	var group errgroup.Group
	group.SetLimit(maxProbes)
	for _, in := range slots {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, probeTimeout)
			defer cancel()
			if p.probe(ctx, in) == nil {
				p.add(in)
			}
			return nil // HAProxy's own check decides on a node that does not answer
		})
	}
	_ = group.Wait()
}

func (p *prover) add(in pool.In) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proven = append(p.proven, in)
	select {
	case p.ready <- struct{}{}:
	default:
	}
}

func (p *prover) take() []pool.In {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.proven
	p.proven = nil
	return all
}

// admit makes HAProxy send requests to the slots whose nodes have answered, unless they have changed meanwhile.
func (m *Mirror) admit(ctx context.Context, proven []pool.In) error {
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	servers, err := m.session.observe(ctx)
	if err != nil {
		return err
	}
	for i, p := range m.opts.Pools {
		cmds := admissions(servers[i], proven)
		if len(cmds) == 0 {
			continue
		}
		errs, err := m.session.apply(ctx, cmds)
		if err != nil {
			m.session.drop()
			return err
		}
		m.reconciler.report.executed(p, cmds, errs)
	}
	m.session.cache.servers = nil // they have changed
	return nil
}

func admissions(servers []haproxy.Server, proven []pool.In) []haproxy.Command {
	byID := make(map[haproxy.ServerID]haproxy.Server, len(servers))
	for _, s := range servers {
		byID[s.ID] = s
	}
	var cmds []haproxy.Command
	for _, in := range proven {
		if s := byID[in.Slot]; s.Addr == in.Addr && s.State == haproxy.Ready && !s.Up {
			cmds = append(cmds, haproxy.SetUp(in.Slot))
		}
	}
	return cmds
}
