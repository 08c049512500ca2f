package handler

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

// Handler mirrors one service of Consul into every HAProxy that it is told of.
type Handler struct {
	cfg     Config
	log     hclog.Logger
	source  *source
	targets []*target
	metrics *metrics
	consul  *peer
}

// New makes a handler. It connects to nothing yet.
func New(cfg Config, log hclog.Logger) (*Handler, error) {
	reg, err := registry.New(cfg.Consul.Address, cfg.Consul.TokenFile, cfg.Service)
	if err != nil {
		return nil, err
	}
	both, err := pools(cfg)
	if err != nil {
		return nil, err
	}
	h := &Handler{cfg: cfg, log: log, metrics: newMetrics(), consul: newPeer("Consul")}
	h.source = newSource(reg, log, h.consul)
	for _, socket := range cfg.HAProxy.AdminSockets {
		h.targets = append(h.targets, h.target(socket, both))
	}
	return h, nil
}

func (h *Handler) target(socket string, both []backendPool) *target {
	log, name := h.log, "HAProxy"
	if len(h.cfg.HAProxy.AdminSockets) > 1 {
		log, name = log.With("haproxy", socket), name+" at "+socket
	}
	t := &target{
		cfg: h.cfg, socket: socket, log: log, source: h.source, inbox: newMailbox(), pools: both,
		metrics: h.metrics, notices: newNotices(log), haproxy: newPeer(name),
		known: map[string]details{}, settled: map[string][]pool.Node{}, drains: drains{}, steady: steady{}, wait: tick,
	}
	h.source.targets = append(h.source.targets, t.inbox)
	h.metrics.watch(t)
	return t
}

// Sync makes one good pass over each HAProxy with what Consul says now. It tries
// until the context ends, and then returns what went wrong last. It does not
// wait for slots that drain: Consul calls its watch handlers one after the
// other, and the next event may be a failing node. A later pass frees them.
func (h *Handler) Sync(ctx context.Context) error {
	failed := make(chan error, len(h.targets))
	for _, t := range h.targets {
		go func() { failed <- t.sync(ctx) }()
	}
	var errs []error
	for range h.targets {
		errs = append(errs, <-failed)
	}
	return errors.Join(errs...)
}

func (t *target) sync(ctx context.Context) error {
	defer t.drop()
	var told string
	for {
		err := t.syncOnce(ctx)
		if err == nil {
			return nil
		}
		if what := withoutDigits(err); what != told && ctx.Err() == nil {
			told = what
			t.log.Warn("not done yet, trying again", "error", oneLine(err))
		}
		sleep(ctx, minBackoff)
		if ctx.Err() != nil {
			return err
		}
	}
}

func (t *target) syncOnce(ctx context.Context) error {
	unlock, err := lock(ctx, t.socket)
	if err != nil {
		return err
	}
	defer unlock()
	// Asked under the lock: a pass that waited must not apply an old answer over
	// a newer one.
	if t.ans, err = t.source.once(ctx); err != nil {
		return err
	}
	t.notices.problems(t.ans.problems)
	if _, err := t.passLocked(ctx, news); err != nil {
		return err
	}
	if t.guard.holding != "" {
		return errors.New("most nodes would leave, and are kept: " + t.guard.holding)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
