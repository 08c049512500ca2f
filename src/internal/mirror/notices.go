package mirror

import (
	"fmt"

	"github.com/hashicorp/go-hclog"

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
	// waitingNodes is how many nodes wait for a slot, by pool.
	waitingNodes map[string]int
	// heldDetail is what was last said of slots that are held, by pool.
	heldDetail map[string]string
}

func newNotices(log hclog.Logger, status *connstatus.Status) *notices {
	return &notices{log: log, status: status, seen: map[registry.Problem]bool{}, waitingNodes: map[string]int{}, heldDetail: map[string]string{}}
}

// problems warns of each problem once, for as long as it lasts.
func (n *notices) problems(now []registry.Problem) {
	current := make(map[registry.Problem]bool, len(now))
	for _, p := range now {
		if current[p] {
			continue
		}
		current[p] = true
		if !n.seen[p] {
			n.log.Warn("problem with a service in Consul",
				"service", p.Service, "node", p.Node, "field", p.Field, "reason", p.Reason)
		}
	}
	n.seen = current
}

// waiting warns when the number of nodes without a slot changes.
func (n *notices) waiting(p Pool, nodes []pool.Node) {
	detail := ""
	if len(nodes) > 0 {
		detail = fmt.Sprintf("pool %s: %d nodes wait for a slot, the first is %s", p.Name, len(nodes), nodes[0].ID)
	}
	n.status.SetDetail("waiting in "+p.Name, detail)
	if len(nodes) == n.waitingNodes[p.Name] {
		return
	}
	n.waitingNodes[p.Name] = len(nodes)
	if len(nodes) == 0 {
		n.log.Info("every node has a slot again", "pool", p.Name)
		return
	}
	n.log.Warn("more nodes than slots: raise max_backend_slots, max_pow_backend_slots or their *_tls_slots",
		"pool", p.Name, "waiting", len(nodes), "first", nodes[0].ID, "kind", nodes[0].TLS.Prefix())
}

// held warns when slots that should leave stay in service.
func (n *notices) held(p Pool, slots []haproxy.ServerID) {
	detail := ""
	if len(slots) > 0 {
		detail = fmt.Sprintf("pool %s: %s should leave and stays in service: no other server is up in HAProxy yet", p.Name, slots[0])
	}
	n.status.SetDetail("held in "+p.Name, detail)
	if detail != n.heldDetail[p.Name] && detail != "" {
		n.log.Warn("a slot that should leave stays in service: no other server is up in HAProxy yet", "pool", p.Name, "slot", slots[0].String())
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
