package handler

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/runtime"
)

// metrics is what /metrics shows.
type metrics struct {
	registry    *prometheus.Registry
	passes      *prometheus.CounterVec
	passSeconds prometheus.Histogram
	lastSuccess prometheus.Gauge
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
	m := &metrics{
		registry: prometheus.NewRegistry(),
		passes:   counter("passes_total", "Comparisons of HAProxy with the registry, by result.", "result"),
		passSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "pass_seconds", Help: "How long a pass took, verification included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		lastSuccess: gauge("last_success_timestamp_seconds", "When HAProxy was last seen to agree with the registry."),
		operations:  counter("operations_total", "Commands sent to HAProxy, by pool and result.", "pool", "result"),
		nodes:       gauges("nodes", "Registered nodes, by pool and health.", "pool", "health"),
		waiting:     gauges("nodes_waiting", "Nodes that find no slot, by pool.", "pool"),
		slots:       gauges("slots", "Slots, by pool, kind and state (ready, drain, maint, free).", "pool", "kind", "state"),
		problems:    gauge("registry_problems", "Services, tags and values in Consul that cannot be used at present."),
		index:       gauge("consul_index", "Consul's index of the answer that is applied."),
	}
	m.registry.MustRegister(m.passes, m.passSeconds, m.lastSuccess, m.operations, m.nodes, m.waiting,
		m.slots, m.problems, m.index, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func result(err error) string {
	if err != nil {
		return "error"
	}
	return "ok"
}

func (m *metrics) pass(took time.Duration, err error) {
	m.passes.WithLabelValues(result(err)).Inc()
	m.passSeconds.Observe(took.Seconds())
	if err == nil {
		m.lastSuccess.SetToCurrentTime()
	}
}

func (m *metrics) operation(pool string, err error) {
	m.operations.WithLabelValues(pool, result(err)).Inc()
}

func (m *metrics) snapshot(s registry.Snapshot) {
	m.problems.Set(float64(len(s.Problems)))
	m.index.Set(float64(s.Index))
}

func (m *metrics) pool(name string, nodes []pool.Node, slots []pool.Slot, plan pool.Plan) {
	for h := pool.Passing; h <= pool.Critical; h++ {
		m.nodes.WithLabelValues(name, h.String()).Set(0)
	}
	for _, n := range nodes {
		m.nodes.WithLabelValues(name, n.Health.String()).Inc()
	}
	m.waiting.WithLabelValues(name).Set(float64(len(plan.Waiting)))
	m.slots.DeletePartialMatch(prometheus.Labels{"pool": name})
	for _, s := range slots {
		m.slots.WithLabelValues(name, s.TLS.Prefix(), slotState(s)).Inc()
	}
}

func slotState(s pool.Slot) string {
	if s.State == runtime.Maint && s.Addr == pool.Placeholder {
		return "free"
	}
	return string(s.State)
}
