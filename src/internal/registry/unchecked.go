package registry

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
)

// unchecked remembers since when nodes have had a check without a result.
//
// Consul starts a check as critical without output, and a check that fails without output (`exit 2`, `curl -sf`) looks the
// same to it: nothing changes, not even the index (Consul's agent/local/state.go, UpdateCheck). Only time tells them apart.
type unchecked struct {
	clock clockwork.Clock

	mu    sync.Mutex
	since map[registration]time.Time
	// next is when the next check is overdue, the zero value for never.
	next time.Time
	// listed are the services of Consul's last answer, nil while that is not known; added are those that came after it and
	// have had no result since.
	listed, added map[serviceKey]bool
}

const (
	// delivery is time for a result's way from the agent through the servers to the handler. An agent that finds no leader
	// tries again after 15 to 30 s (Consul's agent/ae): so it is after a host has died and come back.
	delivery = 30 * time.Second
	// deliveryOfNew is that of a node that was registered just now, through an agent that works. Such a node may serve
	// already, and when its first check fails, Consul keeps that to itself for minutes: the status was critical before, and
	// a mere change of the output waits for check_update_interval.
	deliveryOfNew = 3 * time.Second
)

// serviceKey is a registration as Consul knows it.
type serviceKey struct{ id, agent string }

// list takes over Consul's answer. A service that was not in the one before is new, unless data may have been lost between
// the two: then nobody knows whether it was in service, or out for a reason.
func (u *unchecked) list(nodes []Node, lost bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	listed, added := make(map[serviceKey]bool, len(nodes)), map[serviceKey]bool{}
	for _, n := range nodes {
		s := serviceKey{n.ID, n.Agent}
		listed[s] = true
		if n.Health == pool.Unchecked && !lost && (u.added[s] || u.listed != nil && !u.listed[s]) {
			added[s] = true
		}
	}
	u.listed, u.added = listed, added
}

// registration tells a node from another one that had its ID before.
type registration struct {
	id   string
	addr netip.AddrPort
}

// judge turns nodes critical whose checks should have had a result by now, and marks those that are new. It is given all nodes
// of an answer.
func (u *unchecked) judge(nodes []Node) (found []Problem) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now, since := u.clock.Now(), map[registration]time.Time{}
	u.next = time.Time{}
	for i := range nodes {
		n := &nodes[i]
		if n.Health != pool.Unchecked || n.FirstCheckWithin == 0 {
			continue
		}
		key := registration{n.ID, n.Addr}
		began, known := u.since[key]
		if !known {
			began = now
		}
		since[key] = began
		added := u.added[serviceKey{n.ID, n.Agent}]
		within := n.FirstCheckWithin + delivery
		if added {
			within = n.FirstCheckWithin + deliveryOfNew
		}
		limit := began.Add(within)
		switch {
		case !now.Before(limit):
			n.Health = pool.Critical
			found = append(found, Problem{Service: n.ID, Field: "check", Reason: fmt.Sprintf(
				"critical without output for longer than its interval and its timeout (in all %s): it counts as failed", within)})
		case u.next.IsZero() || limit.Before(u.next):
			u.next = limit
		}
		n.New = added && n.Health == pool.Unchecked
	}
	u.since = since
	return found
}

// forget begins anew with the next answer: while Consul is away it runs no checks, and nothing is overdue.
func (u *unchecked) forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.since, u.next = nil, time.Time{}
	u.listed, u.added = nil, nil
}

// overdue reports whether judge would now say something else of the same nodes.
func (u *unchecked) overdue() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.next.IsZero() && !u.clock.Now().Before(u.next)
}
