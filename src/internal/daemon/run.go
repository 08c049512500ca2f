package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/oklog/run"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/checker"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/iri"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/sleep"
)

const (
	// watchdogInterval is well below WatchdogSec of the unit.
	watchdogInterval = time.Second
	// slotsTimeout bounds how long HAProxy may take to show its slots for a report.
	slotsTimeout = 5 * time.Second
	// requestTimeout bounds how long a client may take to send its request.
	requestTimeout = 5 * time.Second
)

// Run watches Consul, keeps every HAProxy in line and serves /metrics, /healthz and /readyz until the context ends. The
// parts run as one group: the first that ends ends all, and the error says which one it was.
func (d *Daemon) Run(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", d.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen for /metrics (key listen of the configuration): %w", err)
	}
	return d.serve(ctx, listener)
}

func (d *Daemon) serve(ctx context.Context, listener net.Listener) error {
	beats := newHeartbeats(d.clock, len(d.mirrors))
	server := &http.Server{Handler: d.routes(beats), ReadHeaderTimeout: requestTimeout}

	d.watcher.Subscribe(func(snap registry.Snapshot) { d.snapshot.Store(&snap) })

	var group run.Group
	part := func(name string, work func(context.Context)) {
		ctx, cancel := context.WithCancel(ctx)
		group.Add(func() error {
			work(ctx)
			return ended(name, ctx)
		}, func(error) { cancel() })
	}
	group.Add(func() error { return fmt.Errorf("the HTTP server has stopped: %w", server.Serve(listener)) },
		func(error) { _ = server.Close() })
	part("the watch of Consul", d.watcher.Watch)
	part("the refresh of names and checks", d.watcher.Refresh)
	part("the checks of nodes in the catalog and of new nodes", d.checkNodes())
	part("the list of nodes on the disk", d.list.Run)
	part("the report for the other hosts", d.publisher.Run)
	for i, m := range d.mirrors {
		part("the loop of HAProxy at "+d.cfg.HAProxy.AdminSockets[i], func(ctx context.Context) {
			m.Run(ctx, func() { beats.beat(i) })
		})
	}
	part("the watchdog", func(ctx context.Context) { d.feedWatchdog(ctx, beats) })

	notify(systemd.SdNotifyReady)
	d.log.Info("started", "consul", d.cfg.Consul.Address, "service", d.cfg.Service,
		"haproxy", strings.Join(d.cfg.HAProxy.AdminSockets, " "), "metrics", "http://"+d.cfg.Listen+"/metrics")
	err := group.Run()
	notify(systemd.SdNotifyStopping)
	d.log.Info("stopping; HAProxy keeps its slots as they are")
	if errors.Is(err, errStopped) {
		return nil
	}
	return err
}

// checksAtOnce is how many nodes are checked at the same time.
const checksAtOnce = 256

// checkNodes lets this host's own checks judge the nodes of the catalog, and new ones, and returns what makes them.
func (d *Daemon) checkNodes() func(context.Context) {
	var options iri.Options
	if file := d.cfg.HAProxy.CAFile; file != "" {
		var err error
		if options.Roots, err = iri.ReadRoots(file); err != nil {
			d.log.Warn("the system's certificate authorities verify nodes of the catalog instead of haproxy.ca_file", "error", err)
		}
	}
	c := checker.New(checker.NewRunner(options, checksAtOnce, 0), d.log, d.clock, func(h pool.Health) {
		d.metrics.checks.WithLabelValues(h.String()).Inc()
	})
	if saved, ok := d.list.Load(); ok {
		c.Seed(saved.Nodes)
	}
	d.watcher.Use(registry.Local{Judge: c.Judge})
	d.watcher.Subscribe(c.Receive)
	return func(ctx context.Context) { c.Run(ctx, d.watcher.Republish) }
}

// errStopped is a part that ended because the daemon was told to stop.
var errStopped = errors.New("stopped")

// ended says why a part has ended: nothing but its context may end it.
func ended(name string, ctx context.Context) error {
	if ctx.Err() != nil {
		return errStopped
	}
	return fmt.Errorf("%s has stopped", name)
}

// feedWatchdog tells systemd that all loops turn.
func (d *Daemon) feedWatchdog(ctx context.Context, beats *heartbeats) {
	for ctx.Err() == nil {
		if beats.silence() < stuck {
			notify(systemd.SdNotifyWatchdog)
		}
		sleep.Context(ctx, d.clock, watchdogInterval)
	}
}

// notify tells systemd. Without systemd it does nothing.
func notify(state string) { _, _ = systemd.SdNotify(false, state) }
