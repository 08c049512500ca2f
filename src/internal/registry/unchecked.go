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
}

// registration tells a node from another one that had its ID before.
type registration struct {
	id   string
	addr netip.AddrPort
}

// judge turns nodes critical whose checks should have had a result by now. It is given all nodes of an answer.
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
		limit := began.Add(n.FirstCheckWithin)
		switch {
		case !now.Before(limit):
			n.Health = pool.Critical
			found = append(found, Problem{Service: n.ID, Field: "check", Reason: fmt.Sprintf(
				"critical without output for longer than its interval, its timeout and 30 s (%s): it counts as failed", n.FirstCheckWithin)})
		case u.next.IsZero() || limit.Before(u.next):
			u.next = limit
		}
	}
	u.since = since
	return found
}

// forget begins anew with the next answer: while Consul is away it runs no checks, and nothing is overdue.
func (u *unchecked) forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.since, u.next = nil, time.Time{}
}

// overdue reports whether judge would now say something else of the same nodes.
func (u *unchecked) overdue() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.next.IsZero() && !u.clock.Now().Before(u.next)
}
