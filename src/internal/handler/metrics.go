package handler

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/runtime"
)

// metrics is what /metrics shows.
type metrics struct {
	registry    *prometheus.Registry
	passes      *prometheus.CounterVec
	passSeconds prometheus.Histogram
	convergence prometheus.Histogram
	lastSuccess *prometheus.GaugeVec
	drift       *prometheus.CounterVec
	guard       *prometheus.CounterVec
	holding     *prometheus.GaugeVec
	operations  *prometheus.CounterVec
	nodes       *prometheus.GaugeVec
	waiting     *prometheus.GaugeVec
	slots       *prometheus.GaugeVec
	problems    prometheus.Gauge
	index       prometheus.Gauge
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
		registry:    prometheus.NewRegistry(),
		passes:      counter("passes_total", "Comparisons of HAProxy with the registry, by socket and result.", "socket", "result"),
		passSeconds: histogram("pass_seconds", "How long a pass took, verification included."),
		convergence: histogram("convergence_seconds",
			"From the arrival of a new answer of Consul to the proof that HAProxy has it all."),
		lastSuccess: gauges("last_success_timestamp_seconds", "When HAProxy was last seen to agree with the registry.", "socket"),
		drift:       counter("drift_total", "Commands that put slots back which somebody else had changed.", "pool"),
		guard: counter("guard_total",
			"Answers that would have taken most nodes out, by what Consul said when asked again: confirmed, refuted, or kept for no answer.", "result"),
		holding:    gauges("guard_holding", "1 while nodes are kept in service against Consul's word.", "socket"),
		operations: counter("operations_total", "Commands sent to HAProxy, by pool and result.", "pool", "result"),
		nodes:      gauges("nodes", "Registered nodes, by socket, pool and health.", "socket", "pool", "health"),
		waiting:    gauges("nodes_waiting", "Nodes that find no slot, by socket and pool.", "socket", "pool"),
		slots:      gauges("slots", "Slots, by socket, pool, kind and state (ready, drain, maint, free).", "socket", "pool", "kind", "state"),
		problems:   gauge("registry_problems", "Services, tags and values in Consul that cannot be used at present."),
		index:      gauge("consul_index", "Consul's index of the answer that is applied."),
	}
	m.registry.MustRegister(m.passes, m.passSeconds, m.convergence, m.lastSuccess, m.drift, m.guard, m.holding,
		m.operations, m.nodes, m.waiting, m.slots, m.problems, m.index, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func result(err error) string {
	if err != nil {
		return "error"
	}
	return "ok"
}

// watch exports how old the target's last success is, and makes its counters
// begin at 0.
func (m *metrics) watch(t *target) {
	began := time.Now()
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Name: "last_success_age_seconds",
		Help:        "How long ago HAProxy was last seen to agree with the registry; since the start when never.",
		ConstLabels: prometheus.Labels{"socket": t.socket},
	}, func() float64 { return time.Since(t.haproxy.lastAnswer(began)).Seconds() }))
	m.holding.WithLabelValues(t.socket).Set(0)
	m.lastSuccess.WithLabelValues(t.socket).Set(0)
	for _, p := range t.pools {
		m.drift.WithLabelValues(p.name)
	}
	for _, result := range []string{"confirmed", "refuted", "kept"} {
		m.guard.WithLabelValues(result)
	}
}

func (m *metrics) pass(socket string, took time.Duration, err error) {
	m.passes.WithLabelValues(socket, result(err)).Inc()
	m.passSeconds.Observe(took.Seconds())
	if err == nil {
		m.lastSuccess.WithLabelValues(socket).SetToCurrentTime()
	}
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (m *metrics) operation(pool string, err error) {
	m.operations.WithLabelValues(pool, result(err)).Inc()
}

func (m *metrics) answer(a answer) {
	m.problems.Set(float64(len(a.problems)))
	m.index.Set(float64(a.index))
}

func (m *metrics) pool(socket, name string, nodes []pool.Node, slots []pool.Slot, plan pool.Plan) {
	for h := pool.Passing; h <= pool.Critical; h++ {
		m.nodes.WithLabelValues(socket, name, h.String()).Set(0)
	}
	for _, n := range nodes {
		m.nodes.WithLabelValues(socket, name, n.Health.String()).Inc()
	}
	m.waiting.WithLabelValues(socket, name).Set(float64(len(plan.Waiting)))
	m.slots.DeletePartialMatch(prometheus.Labels{"socket": socket, "pool": name})
	for _, s := range slots {
		m.slots.WithLabelValues(socket, name, s.TLS.Prefix(), slotState(s)).Inc()
	}
}

func slotState(s pool.Slot) string {
	if s.State == runtime.Maint && s.Addr == pool.Placeholder {
		return "free"
	}
	return string(s.State)
}
