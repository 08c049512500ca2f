package handler

import (
	"context"
	"fmt"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/runtime"
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
func (t *target) decide(ctx context.Context, servers [][]runtime.Server) ([][]pool.Node, bool, error) {
	backends := make([]pool.Backend, 0, len(t.pools))
	for i, p := range t.pools {
		b, _, err := t.backend(ctx, p, servers[i], false)
		if err != nil {
			return nil, false, err
		}
		backends = append(backends, b)
	}
	wanted, doubt := t.members(), ""
	if t.suspicious(wanted, backends) {
		doubt = t.ask(ctx, backends)
		wanted = t.members() // Consul may have said something else
	} else {
		t.guard.pasts = t.ans.pasts
	}
	t.hold(doubt)
	for i, b := range backends {
		switch {
		case doubt != "":
			wanted[i] = pool.Keep(wanted[i], b)
		case !t.ans.settled:
			// One of those that serve may be what a name stands for.
			wanted[i] = pool.KeepUnlisted(wanted[i], b)
		}
	}
	return wanted, doubt != "", nil
}

// members are the nodes of each pool.
func (t *target) members() [][]pool.Node {
	all := make([][]pool.Node, 0, len(t.pools))
	for _, p := range t.pools {
		all = append(all, p.members(t.ans.nodes, t.cfg.WarningPercent))
	}
	return all
}

func (t *target) suspicious(nodes [][]pool.Node, backends []pool.Backend) bool {
	for i, b := range backends {
		if pool.Suspicious(nodes[i], b, t.cfg.GuardPercent) {
			return true
		}
	}
	return false
}

// ask makes sure of a suspicious answer. It returns why it is not to be believed.
func (t *target) ask(ctx context.Context, backends []pool.Backend) string {
	if t.guard.pasts != t.ans.pasts {
		return "Consul has lost its past (its index went back); register the nodes again, or restart iri-lb-handler to take Consul's word for it"
	}
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
		return fmt.Sprintf("Consul does not confirm it: %v", err)
	}
	second.pasts = t.ans.pasts
	t.ans = second
	t.guard.confirmed = second.seen
	result := "refuted"
	if t.suspicious(t.members(), backends) {
		result = "confirmed"
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
