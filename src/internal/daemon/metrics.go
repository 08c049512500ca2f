package daemon

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/cluster"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/connstatus"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/mirror"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/nodelist"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

// metrics is what /metrics shows.
type metrics struct {
	registry *prometheus.Registry
	// reconciliations and reconcileSeconds have their old names in /metrics, where users rely on them.
	reconciliations  *prometheus.CounterVec
	reconcileSeconds prometheus.Histogram
	convergence      prometheus.Histogram
	lastSuccess      *prometheus.GaugeVec
	drift            *prometheus.CounterVec
	guard            *prometheus.CounterVec
	holding          *prometheus.GaugeVec
	operations       *prometheus.CounterVec
	nodes            *prometheus.GaugeVec
	waiting          *prometheus.GaugeVec
	slots            *prometheus.GaugeVec
	checks           *prometheus.CounterVec
	retries          *prometheus.CounterVec
	ejections        *prometheus.CounterVec
	ejected          *prometheus.GaugeVec
	readmitted       *prometheus.GaugeVec
	problems         prometheus.Gauge
	index            prometheus.Gauge
}

const namespace = "iri_lb_handler"

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	}
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
	}
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		})
	}
	m := &metrics{
		registry:         prometheus.NewRegistry(),
		reconciliations:  counter("passes_total", "Reconciliations of HAProxy with Consul, by socket and result.", "socket", "result"),
		reconcileSeconds: histogram("pass_seconds", "How long a reconciliation took, verification included."),
		convergence:      histogram("convergence_seconds", "From the arrival of a new snapshot to the proof that HAProxy has all of it."),
		lastSuccess:      gauges("last_success_timestamp_seconds", "When HAProxy was last seen to agree with Consul; 0 if never.", "socket"),
		drift:            counter("drift_total", "Commands that restored slots which something other than the handler had changed.", "pool"),
		guard:            counter("guard_total", "Snapshots that would have taken most nodes out of service, by the result of the second query: confirmed, refuted, or kept for lack of an answer.", "result"),
		holding:          gauges("guard_holding", "1 while the guard keeps nodes in service that Consul would have out.", "socket"),
		operations:       counter("operations_total", "Commands sent to HAProxy, by pool and result.", "pool", "result"),
		nodes:            gauges("nodes", "Registered nodes, by socket, pool and health.", "socket", "pool", "health"),
		waiting:          gauges("nodes_waiting", "Nodes that wait for a free slot, by socket and pool.", "socket", "pool"),
		slots:            gauges("slots", "Slots, by socket, pool, kind and state (ready, drain, maint, free).", "socket", "pool", "kind", "state"),
		checks:           counter("node_checks_total", "Checks that this host made, of nodes in the catalog and of new nodes, by verdict (passing, warning, critical).", "verdict"),
		retries:          counter("node_retries_total", "Requests that HAProxy repeated on another node because this one failed them.", "socket", "pool", "node"),
		ejections:        counter("node_ejections_total", "How often HAProxy's own check took the node out of service, by its result.", "socket", "pool", "node", "reason"),
		ejected:          gauges("nodes_ejected", "Nodes that HAProxy's own checks have taken out of service.", "socket", "pool"),
		readmitted:       gauges("nodes_readmitted", "Nodes in service without HAProxy's check, because it would have ejected too many.", "socket", "pool"),
		problems:         gauge("registry_problems", "Services, tags and values in Consul that cannot be used at present."),
		index:            gauge("consul_index", "Consul's index of the snapshot in use."),
	}
	m.registry.MustRegister(m.reconciliations, m.reconcileSeconds, m.convergence, m.lastSuccess, m.drift, m.guard, m.holding,
		m.operations, m.nodes, m.waiting, m.slots, m.checks, m.retries, m.ejections, m.ejected, m.readmitted, m.problems, m.index, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// errAny stands for any error where a series is made before it is used.
var errAny = errors.New("any")

func result(err error) string {
	if err != nil {
		return "error"
	}
	return "ok"
}

// observer is what one HAProxy's mirror tells the metrics. It makes the counters start at 0.
func (m *metrics) observer(
	opts mirror.Options, status *connstatus.Status, clock clockwork.Clock, list *nodelist.List, publisher *cluster.Publisher,
) mirror.Observer {
	started := clock.Now()
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Name: "last_success_age_seconds",
		Help:        "How long ago HAProxy was last seen to agree with Consul; since the start if never.",
		ConstLabels: prometheus.Labels{"socket": opts.Socket},
	}, func() float64 { return clock.Since(status.LastAnswer(started)).Seconds() }))
	m.holding.WithLabelValues(opts.Socket).Set(0)
	m.lastSuccess.WithLabelValues(opts.Socket).Set(0)
	for _, p := range opts.Pools {
		m.drift.WithLabelValues(p.Name)
		m.operations.WithLabelValues(p.Name, result(nil))
		m.operations.WithLabelValues(p.Name, result(errAny))
	}
	m.reconciliations.WithLabelValues(opts.Socket, result(nil))
	m.reconciliations.WithLabelValues(opts.Socket, result(errAny))
	for _, h := range []pool.Health{pool.Passing, pool.Warning, pool.Critical} {
		m.checks.WithLabelValues(h.String())
	}
	for _, result := range []mirror.GuardResult{mirror.Confirmed, mirror.Refuted, mirror.Kept} {
		m.guard.WithLabelValues(string(result))
	}
	return observer{m, opts.Socket, clock, list, publisher, map[string]map[netip.AddrPort]int{}}
}

// observer is a mirror.Observer with the label of its HAProxy.
type observer struct {
	*metrics
	socket    string
	clock     clockwork.Clock
	list      *nodelist.List
	publisher *cluster.Publisher
	// followed are the nodes of each pool that have series of their own.
	followed map[string]map[netip.AddrPort]int
}

// Checked counts the retries, and removes what nodes have that are no longer registered.
func (o observer) Checked(poolName string, checks mirror.PoolChecks) {
	for addr, n := range checks.Retries {
		o.retries.WithLabelValues(o.socket, poolName, addr.String()).Add(float64(n))
	}
	for addr := range o.followed[poolName] {
		if _, registered := checks.Retries[addr]; !registered {
			gone := prometheus.Labels{"socket": o.socket, "pool": poolName, "node": addr.String()}
			o.retries.DeletePartialMatch(gone)
			o.ejections.DeletePartialMatch(gone)
		}
	}
	o.followed[poolName] = checks.Retries
	o.ejected.WithLabelValues(o.socket, poolName).Set(float64(checks.Ejected))
	o.readmitted.WithLabelValues(o.socket, poolName).Set(float64(checks.Readmitted))
}

// Ejected counts by the codes that are known: HAProxy, and not this program, decides on their number.
func (o observer) Ejected(poolName string, node netip.AddrPort, code string) {
	if !slices.Contains(haproxy.FailureCodes, code) {
		code = "other"
	}
	o.ejections.WithLabelValues(o.socket, poolName, node.String(), code).Inc()
}

// Applied keeps the snapshot for a start without Consul.
func (o observer) Applied(snap registry.Snapshot) { o.list.Save(snap) }

func (o observer) Received(snap registry.Snapshot) {
	o.problems.Set(float64(len(snap.Problems)))
	o.index.Set(float64(snap.Index))
}

func (o observer) Executed(poolName string, err error) {
	o.operations.WithLabelValues(poolName, result(err)).Inc()
}

func (o observer) Drifted(poolName string, commands int) {
	o.drift.WithLabelValues(poolName).Add(float64(commands))
}

func (o observer) Guarded(result mirror.GuardResult) { o.guard.WithLabelValues(string(result)).Inc() }

func (o observer) Holding(holding bool) { o.holding.WithLabelValues(o.socket).Set(boolean(holding)) }

func (o observer) Reconciled(took time.Duration, err error) {
	o.publisher.Changed()
	o.reconciliations.WithLabelValues(o.socket, result(err)).Inc()
	o.reconcileSeconds.Observe(took.Seconds())
	if err == nil {
		o.lastSuccess.WithLabelValues(o.socket).Set(float64(o.clock.Now().UnixNano()) / 1e9)
	}
}

func (o observer) Converged(after time.Duration) { o.convergence.Observe(after.Seconds()) }

func (o observer) InLine(poolName string, nodes []pool.Node, slots []pool.Slot, plan pool.Plan) {
	for h := pool.Passing; h <= pool.Critical; h++ {
		o.nodes.WithLabelValues(o.socket, poolName, h.String()).Set(0)
	}
	for _, n := range nodes {
		o.nodes.WithLabelValues(o.socket, poolName, n.Health.String()).Inc()
	}
	o.waiting.WithLabelValues(o.socket, poolName).Set(float64(len(plan.Waiting)))
	o.slots.DeletePartialMatch(prometheus.Labels{"socket": o.socket, "pool": poolName})
	for _, s := range slots {
		o.slots.WithLabelValues(o.socket, poolName, s.TLS.Prefix(), slotState(s)).Inc()
	}
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func slotState(s pool.Slot) string {
	if s.Free() {
		return "free"
	}
	return string(s.State)
}
