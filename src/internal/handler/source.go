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
	// pasts is how often Consul may have lost its past: it was away, or its index
	// went back.
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
	// anew ends the question that is being asked, to begin again without an index.
	anew chan struct{}
}

func newSource(reg *registry.Registry, log hclog.Logger, consul *peer) *source {
	return &source{registry: reg, resolver: newResolver(), log: log, consul: consul, wake: make(chan struct{}, 1), anew: make(chan struct{}, 1)}
}

// watch tells the targets every new answer of Consul until the context ends. It
// asks for ever: after an error again and again, a little slower each time.
func (s *source) watch(ctx context.Context) {
	var index, newest uint64
	wait, away := minBackoff, false
	for ctx.Err() == nil {
		snap, doubted, err := s.fetch(ctx, index)
		switch {
		case doubted:
			index, newest = 0, 0
			sleep(ctx, minBackoff)
			continue
		case err != nil && ctx.Err() != nil:
			return
		case err != nil:
			s.consul.failed(s.log, err)
			sleep(ctx, wait/2+rand.N(wait/2))
			wait = min(2*wait, maxBackoff)
			index, away = 0, true
			continue
		}
		seen := time.Now()
		s.consul.answered(s.log)
		if snap.Index == index {
			continue // the longest wait has passed without news
		}
		rewound := snap.Index < newest
		if rewound {
			s.log.Warn("Consul's index went back: it may have lost its past", "from", newest, "to", snap.Index)
		}
		s.publish(snap, seen, rewound || away)
		wait, away, newest, index = minBackoff, false, snap.Index, snap.Index
		if rewound { // ask from the beginning (Consul's documentation, "Blocking Queries")
			index = 0
			sleep(ctx, minBackoff)
		}
	}
}

// fetch asks once. The question ends early when somebody doubts the last answer:
// with it goes the index, which may be one that Consul never reaches.
func (s *source) fetch(ctx context.Context, index uint64) (snap registry.Snapshot, doubted bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	over := make(chan struct{})
	go func() {
		select {
		case <-s.anew:
			doubted = true
			cancel()
		case <-ctx.Done():
		}
		close(over)
	}()
	snap, err = s.registry.Fetch(ctx, index)
	cancel()
	<-over
	return snap, doubted, err
}

// doubt makes watch ask from the beginning.
func (s *source) doubt() {
	select {
	case s.anew <- struct{}{}:
	default:
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
func (s *source) publish(snap registry.Snapshot, seen time.Time, lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest = snap
	if lost {
		s.pasts++
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
