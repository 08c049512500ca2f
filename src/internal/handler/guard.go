package handler

import (
	"context"
	"fmt"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
)

const (
	// confirmPatience bounds the second question: other changes wait for it.
	confirmPatience = 3 * time.Second
	// confirmEvery is how often an answer that nobody confirms is asked for again.
	confirmEvery = 2 * time.Second
)

// guard doubts an answer that would take most nodes out of service at once.
type guard struct {
	// confirmed is when the answer that was confirmed had arrived.
	confirmed time.Time
	// pasts is the number of lost pasts that is settled: most nodes are back.
	pasts int
	asked time.Time
	// holding says why nodes are kept in service that Consul would have out.
	holding string
}

// decide says what each pool should have. An answer that would take most of the
// nodes out is asked for again; what is not confirmed is not done. It returns
// true when that question is still open.
func (t *target) decide(ctx context.Context, backends []view) ([][]pool.Node, bool) {
	wanted, doubt := t.members(), ""
	forgotten := false
	if !t.suspicious(wanted, backends) {
		t.guard.pasts = t.ans.pasts
	} else {
		if forgotten = t.guard.pasts != t.ans.pasts; forgotten {
			wanted = keepUnlisted(wanted, backends)
		}
		if t.suspicious(wanted, backends) {
			doubt = t.ask(ctx, backends)
			wanted = t.members() // Consul may have said something else
		}
	}
	switch {
	case doubt != "":
		for i, b := range backends {
			wanted[i] = pool.Keep(wanted[i], b.Backend)
		}
		t.hold(doubt)
		return wanted, true
	case forgotten:
		t.hold(lostPast)
		return keepUnlisted(wanted, backends), false
	}
	t.hold("")
	if !t.ans.settled {
		// One of those that serve may be what a name stands for.
		wanted = keepUnlisted(wanted, backends)
	}
	return wanted, false
}

// lostPast: nobody can deregister a node at a Consul that is away. When most are
// missing as soon as it is back, it is Consul that has lost them.
const lostPast = "Consul was away, or its index went back, and it does not list most of them any more; register them again, " +
	"or restart iri-lb-handler to take Consul's word for it"

func keepUnlisted(nodes [][]pool.Node, backends []view) [][]pool.Node {
	kept := make([][]pool.Node, 0, len(nodes))
	for i, b := range backends {
		kept = append(kept, pool.KeepUnlisted(nodes[i], b.Backend))
	}
	return kept
}

// members are the nodes of each pool.
func (t *target) members() [][]pool.Node {
	all := make([][]pool.Node, 0, len(t.pools))
	for _, p := range t.pools {
		all = append(all, p.members(t.ans.nodes, t.cfg.WarningPercent))
	}
	return all
}

func (t *target) suspicious(nodes [][]pool.Node, backends []view) bool {
	for i, b := range backends {
		if pool.Suspicious(nodes[i], b.Backend, t.cfg.GuardPercent) {
			return true
		}
	}
	return false
}

// ask makes sure of a suspicious answer. It returns why it is not to be believed.
func (t *target) ask(ctx context.Context, backends []view) string {
	if t.guard.confirmed.Equal(t.ans.seen) {
		return ""
	}
	if t.guard.holding != "" && time.Since(t.guard.asked) < confirmEvery {
		return t.guard.holding
	}
	t.log.Warn("Consul's answer would take most nodes out of service at once; asking again, consistently")
	ctx, cancel := context.WithTimeout(ctx, confirmPatience)
	defer cancel()
	second, err := t.source.confirm(ctx)
	t.guard.asked = time.Now()
	if err != nil {
		t.metrics.guard.WithLabelValues("kept").Inc()
		t.source.doubt()
		return fmt.Sprintf("Consul does not confirm it: %v", err)
	}
	second.pasts = t.ans.pasts
	t.ans = second
	t.guard.confirmed = second.seen
	result := "refuted"
	if t.suspicious(t.members(), backends) {
		result = "confirmed"
	} else {
		t.source.doubt()
	}
	t.log.Warn("Consul was asked again", "result", result)
	t.metrics.guard.WithLabelValues(result).Inc()
	return ""
}

// hold notes why nodes are kept, and says so once.
func (t *target) hold(why string) {
	if why != t.guard.holding {
		if why != "" {
			t.log.Error("most nodes would leave; they are kept in service", "reason", why)
		} else {
			t.log.Info("no node is kept in service against Consul's word any more")
		}
	}
	t.guard.holding = why
	t.haproxy.detail("guard", why)
	t.metrics.holding.WithLabelValues(t.socket).Set(boolean(why != ""))
}
