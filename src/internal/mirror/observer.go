package mirror

import (
	"net/netip"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

// GuardResult is what came of a confirmation.
type GuardResult string

// The results of a confirmation.
const (
	// Confirmed: Consul said the same again.
	Confirmed GuardResult = "confirmed"
	// Refuted: Consul said something else.
	Refuted GuardResult = "refuted"
	// Kept: Consul did not answer, and the nodes are kept.
	Kept GuardResult = "kept"
)

// Observer is told what happens to one HAProxy, for metrics. Its methods must not block.
type Observer interface {
	// Received is a new snapshot.
	Received(snap registry.Snapshot)
	// Executed is one command, with what came of it.
	Executed(poolName string, err error)
	// Drifted counts commands that put slots back which somebody else has changed.
	Drifted(poolName string, commands int)
	// InLine is a pool that agrees with its nodes.
	InLine(poolName string, nodes []pool.Node, slots []pool.Slot, plan pool.Plan)
	// Guarded is a confirmation.
	Guarded(result GuardResult)
	// Holding is whether nodes are kept in service that Consul would have out.
	Holding(holding bool)
	// Reconciled is a reconciliation that ended.
	Reconciled(took time.Duration, err error)
	// Converged is how long after its arrival a snapshot was verified in HAProxy.
	Converged(after time.Duration)
	// Checked is a poll of HAProxy's own checks.
	Checked(poolName string, checks PoolChecks)
	// Ejected is a node that HAProxy's own check has taken out, with HAProxy's code for the result.
	Ejected(poolName string, node netip.AddrPort, code string)
	// Applied is a snapshot that HAProxy has all of, and that the guard has let through.
	Applied(snap registry.Snapshot)
}

// Discard is an observer that does nothing, for callers without metrics.
type Discard struct{}

// Received does nothing.
func (Discard) Received(registry.Snapshot) {}

// Executed does nothing.
func (Discard) Executed(string, error) {}

// Drifted does nothing.
func (Discard) Drifted(string, int) {}

// InLine does nothing.
func (Discard) InLine(string, []pool.Node, []pool.Slot, pool.Plan) {}

// Guarded does nothing.
func (Discard) Guarded(GuardResult) {}

// Holding does nothing.
func (Discard) Holding(bool) {}

// Reconciled does nothing.
func (Discard) Reconciled(time.Duration, error) {}

// Converged does nothing.
func (Discard) Converged(time.Duration) {}

// Checked does nothing.
func (Discard) Checked(string, PoolChecks) {}

// Ejected does nothing.
func (Discard) Ejected(string, netip.AddrPort, string) {}

// Applied does nothing.
func (Discard) Applied(registry.Snapshot) {}

// report tells the metrics and the log what a reconciliation does.
type report struct {
	observer Observer
	notices  *notices
}

func (r report) executed(p Pool, cmds []haproxy.Command, errs []error) {
	for _, err := range errs {
		r.observer.Executed(p.Name, err)
	}
	r.notices.commands(p, cmds, errs)
}
