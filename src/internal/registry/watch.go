package registry

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/hashicorp/go-hclog"
	"github.com/jonboulle/clockwork"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/sleep"
)

const (
	// Bounds of the wait after a failed query.
	minBackoff = 250 * time.Millisecond
	maxBackoff = 5 * time.Second
	// firstAnswer is how long Consul has for its first answer before the list on the disk is used. Servers without a leader
	// take 7 s to say so.
	firstAnswer = time.Second
)

// NewBackoff is a pause between from and to that grows at each failure, with jitter.
func NewBackoff(from, to time.Duration) *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = from, to
	return b
}

// Reporter is told whether Consul answers.
type Reporter interface {
	Answered()
	Failed(err error)
}

// Watcher queries Consul and DNS, and gives every subscriber each new snapshot.
type Watcher struct {
	client    *Client
	resolver  *resolver
	unchecked *unchecked
	local     Local
	log       hclog.Logger
	clock     clockwork.Clock
	status    Reporter

	mu          sync.Mutex
	subscribers []func(Snapshot)
	// unresolved is Consul's last answer, before host names got their addresses; the zero value until there is one. While
	// Consul has not answered yet it may be the list on the disk.
	unresolved Snapshot
	epoch      int
	// newName wakes Refresh.
	newName chan struct{}
	// restart ends the query in flight and begins again without an index.
	restart chan struct{}
}

// Local is what this host knows by itself.
type Local struct {
	// Judge gives the nodes of the catalog, and new ones, this host's own verdict. nil: all of the catalog pass, and HAProxy's
	// own checks decide; new ones wait for Consul.
	Judge func(nodes []Node)
	// Saved is the last list, kept on the disk for a start without Consul; false when there is none.
	Saved func() (Snapshot, bool)
}

// Use gives the watcher what this host knows by itself. It must be called before anything else.
func (w *Watcher) Use(local Local) {
	if local.Judge != nil {
		w.local.Judge = local.Judge
	}
	if local.Saved != nil {
		w.local.Saved = local.Saved
	}
}

// NewWatcher makes a watcher. It queries nothing yet.
func NewWatcher(client *Client, lookup LookupFunc, log hclog.Logger, clock clockwork.Clock, status Reporter) *Watcher {
	return &Watcher{
		client: client, resolver: newResolver(lookup, client.cache.parser.checkAddr, clock), log: log, clock: clock, status: status,
		unchecked: &unchecked{clock: clock},
		local:     Local{Judge: func([]Node) {}, Saved: func() (Snapshot, bool) { return Snapshot{}, false }},
		newName:   make(chan struct{}, 1), restart: make(chan struct{}, 1),
	}
}

// Subscribe makes the watcher call f with every new snapshot, one at a time. It must not block, and be called before Watch.
func (w *Watcher) Subscribe(f func(Snapshot)) { w.subscribers = append(w.subscribers, f) }

// Watch publishes every new answer of Consul until the context ends. It never gives up: after an error it retries, with
// growing pauses.
func (w *Watcher) Watch(ctx context.Context) {
	var index, newest uint64
	pause, away := NewBackoff(minBackoff, maxBackoff), false
	if _, saved := w.local.Saved(); saved {
		defer w.clock.AfterFunc(firstAnswer, w.publishSaved).Stop()
	}
	for ctx.Err() == nil {
		snap, restarted, err := w.fetch(ctx, index)
		if saved, used := w.savedIndex(); used {
			// What was deregistered while this host was off is gone, unless Consul is not what it was then.
			newest, away = saved, false
		}
		if err == nil && !restarted && snap.Index < newest {
			// A leader answers before it has replayed its log after a start, with nothing or with an old list. It replays all
			// of it before it answers this.
			snap, err = w.client.Confirm(ctx)
		}
		switch {
		case restarted:
			index, newest = 0, 0
			sleep.Context(ctx, w.clock, minBackoff)
			continue
		case err != nil && ctx.Err() != nil:
			return
		case err != nil:
			w.status.Failed(err)
			w.publishSaved()
			w.unchecked.forget()
			sleep.Context(ctx, w.clock, pause.NextBackOff())
			index, away = 0, true
			continue
		}
		w.status.Answered()
		if snap.Index == index {
			continue // the blocking query timed out without news
		}
		rewound := snap.Index < newest
		if rewound {
			w.log.Warn("Consul's index went back: it may have lost data", "from", newest, "to", snap.Index)
		}
		w.publish(snap, rewound || away)
		pause.Reset()
		away, newest, index = false, snap.Index, snap.Index
		if rewound { // begin again (Consul's documentation, "Blocking Queries")
			index = 0
			sleep.Context(ctx, w.clock, minBackoff)
		}
	}
}

// fetch makes one query. It ends early after Restart: the last answer's index may be one that Consul never reaches.
func (w *Watcher) fetch(ctx context.Context, index uint64) (snap Snapshot, restarted bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		select {
		case <-w.restart:
			restarted = true
			cancel()
		case <-ctx.Done():
		}
		close(done)
	}()
	snap, err = w.client.Fetch(ctx, index)
	cancel()
	<-done
	return snap, restarted, err
}

// Restart makes Watch begin again without an index, because its last answer is in doubt.
func (w *Watcher) Restart() {
	select {
	case w.restart <- struct{}{}:
	default:
	}
}

// Refresh keeps the last answer up to date until the context ends: it looks host names up, new ones at once and all of them
// at intervals, and notices checks that should have had a result by now, and a token that was replaced.
func (w *Watcher) Refresh(ctx context.Context) {
	ticker := w.clock.NewTicker(refreshInterval)
	defer ticker.Stop()
	second := w.clock.NewTicker(time.Second)
	defer second.Stop()
	for {
		all := false
		select {
		case <-ctx.Done():
			return
		case <-w.newName:
		case <-second.Chan():
			if w.unchecked.overdue() {
				w.Republish()
			}
			if w.client.tokenChanged() {
				w.Restart() // the query in flight has the old one
			}
			continue
		case <-ticker.Chan():
			all = true
		}
		w.mu.Lock()
		nodes := w.unresolved.Nodes
		w.mu.Unlock()
		if w.resolver.refresh(ctx, all, nodes) {
			w.Republish()
		}
	}
}

// Once queries Consul once, and DNS for the names that are not known yet.
func (w *Watcher) Once(ctx context.Context) (Snapshot, error) {
	return w.resolved(ctx, func(ctx context.Context) (Snapshot, error) { return w.client.Fetch(ctx, 0) })
}

// Confirm is Once with Consul's strongest consistency.
func (w *Watcher) Confirm(ctx context.Context) (Snapshot, error) {
	return w.resolved(ctx, w.client.Confirm)
}

func (w *Watcher) resolved(ctx context.Context, query func(context.Context) (Snapshot, error)) (Snapshot, error) {
	raw, err := query(ctx)
	if err != nil {
		return Snapshot{}, err
	}
	raw.Seen = w.clock.Now()
	snap := w.complete(raw)
	if w.resolver.missing() {
		w.resolver.refresh(ctx, false, raw.Nodes)
		snap = w.complete(raw)
	}
	return snap, nil
}

// publish gives the subscribers a new answer.
func (w *Watcher) publish(snap Snapshot, lost bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if lost {
		w.epoch++
	}
	snap.Seen, snap.Epoch = w.clock.Now(), w.epoch
	w.unchecked.list(snap.Nodes, lost)
	w.unresolved = snap
	w.send()
}

// publishSaved gives the subscribers the list on the disk, unless they have one already.
func (w *Watcher) publishSaved() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.unresolved.Seen.IsZero() {
		return
	}
	snap, ok := w.local.Saved()
	if !ok {
		return
	}
	w.log.Warn("Consul has not answered yet; the nodes are those of the last list on the disk, and none is removed", "nodes", len(snap.Nodes))
	snap.Seen = w.clock.Now()
	w.unresolved = snap
	w.send()
}

// savedIndex is Consul's index of the list on the disk, and whether that is the list in use.
func (w *Watcher) savedIndex() (uint64, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.unresolved.Index, w.unresolved.FromDisk
}

// Saved is the list on the disk as it may be used without Consul; false when there is none.
func (w *Watcher) Saved() (Snapshot, bool) {
	snap, ok := w.local.Saved()
	snap.Seen = w.clock.Now()
	return w.complete(snap), ok
}

// Republish gives the subscribers the last list again, with the addresses and the verdicts of now.
func (w *Watcher) Republish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.unresolved.Seen.IsZero() {
		return // to publish nothing would say that there is no node
	}
	w.unresolved.Seen = w.clock.Now()
	w.send()
}

// send is called with the lock held.
func (w *Watcher) send() {
	snap := w.complete(w.unresolved)
	for _, tell := range w.subscribers {
		tell(snap)
	}
	if w.resolver.missing() {
		select {
		case w.newName <- struct{}{}:
		default:
		}
	}
}

// complete gives the nodes of an answer their addresses, as far as they are known, and this host's verdicts.
func (w *Watcher) complete(snap Snapshot) Snapshot {
	if snap.FromDisk {
		snap.Nodes = w.judgeSaved(snap.Nodes)
		return snap
	}
	nodes, found, complete := w.resolver.resolve(snap.Nodes)
	found = append(found, w.unchecked.judge(nodes)...)
	w.local.Judge(nodes)
	snap.Nodes, snap.Problems, snap.Complete = nodes, append(found, snap.Problems...), complete
	return snap
}

// judgeSaved takes what the list on the disk has against a node for no verdict: it may be old. What this host finds itself
// counts.
func (w *Watcher) judgeSaved(saved []Node) []Node {
	nodes := slices.Clone(saved)
	for i := range nodes {
		n := &nodes[i]
		switch {
		case n.Check != nil:
			n.Health = pool.Passing
		case !n.Health.Serves():
			n.Health = pool.Unchecked
		}
	}
	w.local.Judge(nodes)
	return nodes
}
