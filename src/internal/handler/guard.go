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
	doubt := ""
	if t.suspicious(backends) {
		doubt = t.ask(ctx, backends)
	} else {
		t.guard.pasts = t.ans.pasts
	}
	t.hold(doubt)
	return t.wanted(backends, doubt != ""), doubt != "", nil
}

func (t *target) suspicious(backends []pool.Backend) bool {
	for i, p := range t.pools {
		if pool.Suspicious(p.members(t.ans.nodes, t.cfg.WarningPercent), backends[i], t.cfg.GuardPercent) {
			return true
		}
	}
	return false
}

// wanted are the nodes of each pool, with those in doubt left as they are.
func (t *target) wanted(backends []pool.Backend, doubt bool) [][]pool.Node {
	wanted := make([][]pool.Node, 0, len(t.pools))
	for i, p := range t.pools {
		nodes := p.members(t.ans.nodes, t.cfg.WarningPercent)
		switch {
		case doubt:
			nodes = pool.Keep(nodes, backends[i])
		case !t.ans.settled:
			// One of those that serve may be what a name stands for.
			nodes = pool.KeepUnlisted(nodes, backends[i])
		}
		wanted = append(wanted, nodes)
	}
	return wanted
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
	if t.suspicious(backends) {
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
