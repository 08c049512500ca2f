package cluster

import (
	"context"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jonboulle/clockwork"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/connstatus"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/sleep"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/status"
)

const (
	// shortest is the shortest time between two reports.
	shortest = 5 * time.Second
	// longest is the longest: a report that stays the same is written again, to show that its host is there.
	longest = 30 * time.Second
)

// Publisher writes this host's report. Nobody waits for it, and nothing depends on it.
type Publisher struct {
	write func(context.Context, status.Report) error
	// collect makes the report. With slots set it reads HAProxy's slots, else those that it has read last will do.
	collect func(ctx context.Context, slots bool) status.Report
	log     hclog.Logger
	clock   clockwork.Clock
	changed atomic.Bool

	// last is the report that was last written at the time tried, or should have been: Consul logs what it refuses, so that is
	// not repeated more often than anything else.
	last   status.Report
	tried  time.Time
	failed string
}

// NewPublisher makes a publisher. It writes nothing yet.
func NewPublisher(
	write func(context.Context, status.Report) error, collect func(context.Context, bool) status.Report, log hclog.Logger, clock clockwork.Clock,
) *Publisher {
	return &Publisher{write: write, collect: collect, log: log, clock: clock}
}

// Changed says that HAProxy's slots may not be what they were, as after a reconciliation. It never blocks.
func (p *Publisher) Changed() { p.changed.Store(true) }

// Run writes reports until the context ends: at once when something has changed, and else at intervals.
func (p *Publisher) Run(ctx context.Context) {
	for sleep.Context(ctx, p.clock, shortest); ctx.Err() == nil; sleep.Context(ctx, p.clock, shortest) {
		p.turn(ctx)
	}
}

func (p *Publisher) turn(ctx context.Context) {
	now := p.clock.Now()
	due := now.Sub(p.tried) >= longest
	r := p.collect(ctx, p.changed.Swap(false))
	if !due && reflect.DeepEqual(r, p.last) {
		return
	}
	p.tried, p.last = now, r
	r.Written = now
	err := p.write(ctx, r)
	if ctx.Err() == nil {
		p.note(err)
	}
}

// note logs a failure once.
func (p *Publisher) note(err error) {
	failed := ""
	if err != nil {
		failed = connstatus.WithoutDigits(err)
	}
	switch {
	case failed == p.failed:
	case failed == "":
		p.log.Info("other hosts see this host's state again (iri-lb-handler status --cluster)")
	default:
		p.log.Warn("other hosts do not see this host's state (iri-lb-handler status --cluster); all else goes on", "error", connstatus.OneLine(err))
	}
	p.failed = failed
}
