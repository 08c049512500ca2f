package handler

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

// stuck is how long the loop may be silent before /healthz calls it dead. It is
// longer than a pass may take.
const stuck = 2 * passTimeout

// Run serves until the context ends: it watches Consul, keeps HAProxy in line
// and answers /metrics, /healthz and /readyz. It returns an error only for what
// waiting cannot cure.
func (h *Handler) Run(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", h.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen for /metrics (key listen of the configuration): %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var beat atomic.Int64
	beat.Store(time.Now().UnixNano())
	server := &http.Server{Handler: h.routes(&beat), ReadHeaderTimeout: patienceHTTP}
	updates := make(chan registry.Snapshot)

	var group sync.WaitGroup
	group.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			h.log.Error("the server of /metrics has stopped", "error", err)
		}
	})
	group.Go(func() { h.watch(ctx, updates) })
	notify(daemon.SdNotifyReady)
	h.log.Info("started", "consul", h.cfg.Consul.Address, "service", h.cfg.Service,
		"haproxy", h.cfg.HAProxy.AdminSocket, "metrics", "http://"+h.cfg.Listen+"/metrics")
	h.loop(ctx, updates, func() {
		beat.Store(time.Now().UnixNano())
		notify(daemon.SdNotifyWatchdog)
	})
	notify(daemon.SdNotifyStopping)
	h.log.Info("stopping; HAProxy keeps its slots as they are")
	_ = server.Close()
	cancel()
	group.Wait()
	return nil
}

// patienceHTTP bounds how long a client may take to send its request.
const patienceHTTP = 5 * time.Second

// notify tells systemd. Without systemd it does nothing.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }

func (h *Handler) routes(beat *atomic.Int64) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(h.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if silent := time.Since(time.Unix(0, beat.Load())); silent > stuck {
			http.Error(w, fmt.Sprintf("the loop has not turned for %s", silent.Round(time.Second)), http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		var reasons []string
		for _, p := range []*peer{h.health.consul, h.health.haproxy} {
			if reason := p.notReady(); reason != "" {
				reasons = append(reasons, reason)
			}
		}
		if len(reasons) > 0 {
			http.Error(w, strings.Join(reasons, "\n"), http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ready")
	})
	return mux
}
