package mirror

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jonboulle/clockwork"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/connstatus"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

// manyCommands is the number of commands above which one line stands for a whole batch: two thousand lines at every start
// help nobody.
const manyCommands = 50

// notices are the log lines that must come once and not at every reconciliation.
type notices struct {
	log    hclog.Logger
	status *connstatus.Status
	seen   map[registry.Problem]bool
	clock  clockwork.Clock
	// waitingNodes is what was last said of nodes that wait for a slot, by pool.
	waitingNodes map[string]waitingNotice
	// heldDetail is what was last said of slots that are held, by pool.
	heldDetail map[string]string
}

// waitingInterval is how often a changed number of waiting nodes is worth a line.
const waitingInterval = time.Minute

type waitingNotice struct {
	nodes int
	told  time.Time
}

func newNotices(log hclog.Logger, status *connstatus.Status, clock clockwork.Clock) *notices {
	return &notices{log: log, status: status, clock: clock, seen: map[registry.Problem]bool{}, waitingNodes: map[string]waitingNotice{}, heldDetail: map[string]string{}}
}

// maxProblems is how many problems one snapshot adds to the log.
const maxProblems = 10

// problems warns of each problem once, for as long as it lasts. Where many come at once, one line counts the rest.
func (n *notices) problems(now []registry.Problem) {
	current := make(map[registry.Problem]bool, len(now))
	added := 0
	for _, p := range now {
		if current[p] {
			continue
		}
		current[p] = true
		if n.seen[p] {
			continue
		}
		if added++; added <= maxProblems {
			n.log.Warn("problem with a service in Consul",
				"service", p.Service, "node", p.Node, "field", p.Field, "reason", p.Reason)
		}
	}
	if added > maxProblems {
		n.log.Warn("more problems with services in Consul; `iri-lb-handler status --json` lists all", "more", added-maxProblems)
	}
	n.seen = current
}

// fromDisk says in /readyz where the nodes come from while Consul has not answered yet.
func (n *notices) fromDisk(is bool) {
	detail := ""
	if is {
		detail = "the nodes are those of the last list on the disk, until Consul answers"
	}
	n.status.SetDetail("list", detail)
}

// waiting warns when the number of nodes without a slot changes.
func (n *notices) waiting(p Pool, nodes []pool.Node) {
	detail := ""
	if len(nodes) > 0 {
		detail = fmt.Sprintf("pool %s: %d nodes wait for a slot, the first is %s", p.Name, len(nodes), nodes[0].ID)
	}
	n.status.SetDetail("waiting in "+p.Name, detail)
	last := n.waitingNodes[p.Name]
	switch {
	case len(nodes) == last.nodes:
		return
	case len(nodes) == 0:
		n.log.Info("every node has a slot again", "pool", p.Name)
		n.waitingNodes[p.Name] = waitingNotice{}
		return
	// While nodes are registered one after the other, each of them changes the number.
	case last.nodes > 0 && n.clock.Since(last.told) < waitingInterval:
		return
	}
	n.waitingNodes[p.Name] = waitingNotice{len(nodes), n.clock.Now()}
	n.log.Warn("more nodes than slots: raise the pool's slots (max_backend_slots, max_pow_backend_slots, their *_tls_slots, or "+
		"haproxy_more_pools) and run the playbook",
		"pool", p.Name, "waiting", len(nodes), "first", nodes[0].ID, "kind", nodes[0].TLS.Prefix())
}

// serving says in /readyz when a pool that has nodes serves nobody.
func (n *notices) serving(p Pool, nodes []pool.Node, slots []pool.Slot) {
	detail := ""
	if len(nodes) > 0 && !slices.ContainsFunc(slots, pool.Slot.Usable) {
		states := map[pool.Health]int{}
		for _, node := range nodes {
			states[node.Health]++
		}
		var counts []string
		for h := pool.Passing; h <= pool.Critical; h++ {
			if states[h] > 0 {
				counts = append(counts, fmt.Sprintf("%d %s", states[h], h))
			}
		}
		detail = fmt.Sprintf("pool %s serves nobody; its nodes: %s", p.Name, strings.Join(counts, ", "))
	}
	n.status.SetDetail("serving in "+p.Name, detail)
}

// held warns when slots that should leave stay in service.
func (n *notices) held(p Pool, slots []haproxy.ServerID) {
	detail := ""
	if len(slots) > 0 {
		detail = fmt.Sprintf("pool %s: %s should leave but stays in service until what replaces it is up in HAProxy", p.Name, slots[0])
	}
	n.status.SetDetail("held in "+p.Name, detail)
	if detail != n.heldDetail[p.Name] && detail != "" {
		n.log.Warn("a slot should leave but stays in service until what replaces it is up in HAProxy", "pool", p.Name, "slot", slots[0].String())
	}
	n.heldDetail[p.Name] = detail
}

// commands logs what HAProxy was told, a line each unless they are many.
func (n *notices) commands(p Pool, cmds []haproxy.Command, errs []error) {
	level := hclog.Info
	if len(cmds) > manyCommands {
		n.log.Info("HAProxy was told", "pool", p.Name, "commands", len(cmds))
		level = hclog.Debug
	}
	for i, cmd := range cmds {
		if errs[i] == nil {
			n.log.Log(level, "HAProxy was told", "pool", p.Name, "command", cmd.String())
		}
	}
}

// drift tells what somebody else has changed in HAProxy.
func (n *notices) drift(p Pool, plan pool.Plan) {
	n.log.Warn("slots were not as they were left; putting them back", "pool", p.Name, "commands", len(plan.Commands()))
}

// ejected says which nodes HAProxy's own check has taken out, and why.
func (n *notices) ejected(p Pool, ids map[netip.AddrPort]string, all []*followed) {
	level := hclog.Warn
	if len(all) > manyCommands {
		n.log.Warn("many nodes are ejected by HAProxy's check; `iri-lb-handler status` shows all", "pool", p.Name, "nodes", len(all),
			"first", ids[all[0].addr], "reason", all[0].failed.Reason)
		level = hclog.Debug
	}
	for _, f := range all {
		n.log.Log(level, "a node is ejected by HAProxy's check", "pool", p.Name, "node", ids[f.addr], "address", f.addr.String(),
			"slot", f.Slot.String(), "reason", f.failed.Reason)
	}
}

// returned says which nodes have passed HAProxy's own check again.
func (n *notices) returned(p Pool, ids map[netip.AddrPort]string, all []*followed, now time.Time) {
	level := hclog.Info
	if len(all) > manyCommands {
		n.log.Info("many nodes have returned: HAProxy's check passes again", "pool", p.Name, "nodes", len(all))
		level = hclog.Debug
	}
	for _, f := range all {
		n.log.Log(level, "a node has returned: HAProxy's check passes again", "pool", p.Name, "node", ids[f.addr], "address", f.addr.String(),
			"slot", f.Slot.String(), "after", now.Sub(f.Ejected).Round(time.Second).String())
	}
}

// exceeded says that nodes are kept in service without HAProxy's check, or that none is any longer.
func (n *notices) exceeded(p Pool, readmitted, nodes, percent int) {
	if readmitted == 0 {
		n.log.Info("HAProxy's checks decide on every node of the pool again", "pool", p.Name)
		return
	}
	n.log.Warn(fmt.Sprintf("more than %d %% of pool %s fails HAProxy's check; the others stay in service without it", percent, p.Name),
		"pool", p.Name, "nodes_in_service", nodes)
}
