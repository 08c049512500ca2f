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
	beats := &heart{began: time.Now(), beats: make([]atomic.Int64, len(h.targets))}
	server := &http.Server{Handler: h.routes(beats), ReadHeaderTimeout: patienceHTTP}

	var group sync.WaitGroup
	group.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			h.log.Error("the server of /metrics has stopped", "error", err)
		}
	})
	group.Go(func() { h.source.watch(ctx) })
	group.Go(func() { h.source.names(ctx) })
	for i, t := range h.targets {
		beat := func() { beats.beat(i) }
		beat()
		group.Go(func() { t.loop(ctx, beat) })
	}
	notify(daemon.SdNotifyReady)
	h.log.Info("started", "consul", h.cfg.Consul.Address, "service", h.cfg.Service,
		"haproxy", strings.Join(h.cfg.HAProxy.AdminSockets, " "), "metrics", "http://"+h.cfg.Listen+"/metrics")
	for ctx.Err() == nil {
		if beats.silence() < stuck {
			notify(daemon.SdNotifyWatchdog)
		}
		sleep(ctx, watchdogEvery)
	}
	notify(daemon.SdNotifyStopping)
	h.log.Info("stopping; HAProxy keeps its slots as they are")
	_ = server.Close()
	group.Wait()
	return nil
}

// watchdogEvery is well below WatchdogSec of the unit.
const watchdogEvery = time.Second

// heart knows when each loop turned last: how long after began, by the monotonic
// clock, which does not jump when somebody sets the time.
type heart struct {
	began time.Time
	beats []atomic.Int64
}

func (h *heart) beat(i int) { h.beats[i].Store(int64(time.Since(h.began))) }

// silence is how long the loop that is silent longest has not turned.
func (h *heart) silence() time.Duration {
	var longest time.Duration
	for i := range h.beats {
		longest = max(longest, time.Since(h.began)-time.Duration(h.beats[i].Load()))
	}
	return longest
}

// patienceHTTP bounds how long a client may take to send its request.
const patienceHTTP = 5 * time.Second

// notify tells systemd. Without systemd it does nothing.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }

func (h *Handler) routes(beats *heart) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(h.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if silent := beats.silence(); silent > stuck {
			http.Error(w, fmt.Sprintf("the loop has not turned for %s", silent.Round(time.Second)), http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		var reasons, details []string
		for _, p := range h.peers() {
			if reason := p.notReady(); reason != "" {
				reasons = append(reasons, reason)
			}
			details = append(details, p.allDetails()...)
		}
		if len(reasons) > 0 {
			http.Error(w, strings.Join(append(reasons, details...), "\n"), http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, strings.Join(append([]string{"ready"}, details...), "\n"))
	})
	return mux
}

// peers are all that must answer for the handler to be ready.
func (h *Handler) peers() []*peer {
	peers := []*peer{h.consul}
	for _, t := range h.targets {
		peers = append(peers, t.haproxy)
	}
	return peers
}
