package handler

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

const (
	// Bounds of the wait after a failed question to Consul.
	minBackoff = 250 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// answer is what Consul and DNS say at one time.
type answer struct {
	nodes    []registry.Node
	problems []registry.Problem
	index    uint64
	// seen is when Consul's part of it arrived.
	seen time.Time
	// settled is false while a host name may still get its first address.
	settled bool
	// pasts is how often Consul's index went back: it had lost its past.
	pasts int
}

// source asks Consul and DNS, and tells every target what they say.
type source struct {
	registry *registry.Registry
	resolver *resolver
	log      hclog.Logger
	consul   *peer
	targets  []*mailbox

	mu     sync.Mutex
	latest registry.Snapshot
	last   answer
	pasts  int
	wake   chan struct{} // a name is new
}

func newSource(reg *registry.Registry, log hclog.Logger, consul *peer) *source {
	return &source{registry: reg, resolver: newResolver(), log: log, consul: consul, wake: make(chan struct{}, 1)}
}

// watch tells the targets every new answer of Consul until the context ends. It
// asks for ever: after an error again and again, a little slower each time.
func (s *source) watch(ctx context.Context) {
	var index, newest uint64
	wait := minBackoff
	for ctx.Err() == nil {
		snap, err := s.registry.Fetch(ctx, index)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			s.consul.failed(s.log, err)
			sleep(ctx, wait/2+rand.N(wait/2))
			wait = min(2*wait, maxBackoff)
			index = 0
			continue
		}
		seen := time.Now()
		wait = minBackoff
		s.consul.answered(s.log)
		if snap.Index == index {
			continue // the longest wait has passed without news
		}
		rewound := snap.Index < newest
		newest = snap.Index
		index = snap.Index
		s.publish(snap, seen, rewound)
		if rewound { // ask from the beginning (Consul's documentation, "Blocking Queries")
			index = 0
			sleep(ctx, minBackoff)
		}
	}
}

// names looks host names up, new ones at once and all of them now and then.
func (s *source) names(ctx context.Context) {
	ticker := time.NewTicker(refreshNames)
	defer ticker.Stop()
	for {
		all := false
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-ticker.C:
			all = true
		}
		s.mu.Lock()
		nodes := s.latest.Nodes
		s.mu.Unlock()
		if s.resolver.refresh(ctx, all, nodes) {
			s.repeat()
		}
	}
}

// publish tells the targets a new answer.
func (s *source) publish(snap registry.Snapshot, seen time.Time, rewound bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest = snap
	if rewound {
		s.pasts++
		s.log.Warn("Consul's index went back: it has lost its past; no node is removed only because Consul does not list it any more, "+
			"until it lists most of those in service again", "index", snap.Index)
	}
	s.last = s.complete(snap)
	s.last.seen = seen
	s.send()
}

// repeat tells the targets the last answer with the addresses of today.
func (s *source) repeat() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = s.complete(s.latest)
	s.send()
}

func (s *source) send() {
	for _, m := range s.targets {
		m.put(s.last)
	}
	if s.resolver.missing() {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// complete gives the nodes of a snapshot their addresses, as far as known.
func (s *source) complete(snap registry.Snapshot) answer {
	nodes, problems, settled := s.resolver.resolve(snap.Nodes)
	return answer{
		nodes: nodes, problems: append(problems, snap.Problems...), index: snap.Index,
		seen: time.Now(), settled: settled, pasts: s.pasts,
	}
}

// once asks Consul once, and DNS for all names.
func (s *source) once(ctx context.Context) (answer, error) {
	snap, err := s.registry.Fetch(ctx, 0)
	if err != nil {
		return answer{}, err
	}
	return s.now(ctx, snap), nil
}

// confirm asks again in Consul's most careful way.
func (s *source) confirm(ctx context.Context) (answer, error) {
	snap, err := s.registry.Confirm(ctx)
	if err != nil {
		return answer{}, err
	}
	return s.now(ctx, snap), nil
}

// now waits for the names that are not known yet.
func (s *source) now(ctx context.Context, snap registry.Snapshot) answer {
	ans := s.complete(snap)
	if s.resolver.missing() {
		s.resolver.refresh(ctx, false, snap.Nodes)
		ans = s.complete(snap)
	}
	return ans
}

// mailbox holds the newest answer only: one that nobody has read is replaced.
type mailbox struct {
	mu sync.Mutex
	c  chan answer
}

func newMailbox() *mailbox { return &mailbox{c: make(chan answer, 1)} }

func (m *mailbox) put(a answer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.c:
	default:
	}
	m.c <- a
}
