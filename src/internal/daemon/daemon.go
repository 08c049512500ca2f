package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jonboulle/clockwork"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/certificate"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/cluster"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/connstatus"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/mirror"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/nodelist"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/status"
)

// Daemon mirrors one service of Consul into every HAProxy that is configured.
type Daemon struct {
	cfg     Config
	log     hclog.Logger
	clock   clockwork.Clock
	watcher *registry.Watcher
	list    *nodelist.List
	mirrors []*mirror.Mirror
	metrics *metrics
	// Version is that of the program, for the other hosts.
	Version string
	// What the other hosts see of this one.
	store     *cluster.Store
	publisher *cluster.Publisher
	started   time.Time
	snapshot  atomic.Pointer[registry.Snapshot]
	// slots are those that were last read for a report.
	slots []status.ReportedHAProxy
	// statuses are of all connections that must work for the daemon to be ready.
	statuses []*connstatus.Status
}

// New makes a daemon. It connects to nothing yet.
func New(cfg Config, log hclog.Logger, clock clockwork.Clock) (*Daemon, error) {
	client, err := registry.NewClient(cfg.RegistryOptions())
	if err != nil {
		return nil, err
	}
	consul := connstatus.New("Consul", log, clock)
	d := &Daemon{
		cfg: cfg, log: log, clock: clock, started: clock.Now().UTC(), metrics: newMetrics(), statuses: []*connstatus.Status{consul},
		watcher: registry.NewWatcher(client, registry.SystemLookup, log, clock, consul),
		list:    nodelist.New(cfg.NodesFile, cfg.Service, log, clock),
		store:   cluster.New(cfg.RegistryOptions()),
	}
	d.publisher = cluster.NewPublisher(d.store.Write, d.report, log, clock)
	d.watcher.Use(registry.Local{Judge: d.list.Judge, Saved: d.list.Load})
	for _, path := range cfg.HAProxy.AdminSockets {
		if err := d.add(path); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// add mirrors into one more HAProxy.
func (d *Daemon) add(path string) error {
	opts, err := d.cfg.options(path)
	if err != nil {
		return err
	}
	log, name := d.log, "HAProxy"
	if len(d.cfg.HAProxy.AdminSockets) > 1 {
		log, name = log.With("haproxy", path), name+" at "+path
	}
	st := connstatus.New(name, log, d.clock)
	m := mirror.New(opts, mirror.DialSocket(path), probe(d.cfg.HAProxy.CAFile), d.watcher, log, d.clock, st, d.metrics.observer(opts, st, d.clock, d.list, d.publisher))
	d.watcher.Subscribe(m.Receive)
	d.mirrors = append(d.mirrors, m)
	d.statuses = append(d.statuses, st)
	return nil
}

// Sync makes one successful reconciliation of each HAProxy with what Consul says now: see mirror.Mirror.Sync.
func (d *Daemon) Sync(ctx context.Context) error {
	results := make(chan error, len(d.mirrors))
	for _, m := range d.mirrors {
		go func() { results <- m.Sync(ctx) }()
	}
	var errs []error
	for range d.mirrors {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}

// Plan prints what Sync would change, and changes nothing. It returns true when there is anything to change.
func (d *Daemon) Plan(ctx context.Context, w io.Writer) (bool, error) {
	snap, err := d.watcher.Once(ctx)
	if err != nil {
		return false, err
	}
	for _, p := range snap.Problems {
		_, _ = fmt.Fprintf(w, "problem with %s, %s: %s\n", p.Service, p.Field, p.Reason)
	}
	changes := false
	for _, m := range d.mirrors {
		some, err := m.Plan(ctx, snap, w)
		if err != nil {
			return changes, err
		}
		changes = changes || some
	}
	return changes, nil
}

// Status reads what Consul and every HAProxy say. The error names those that did not answer; the rest is there all the same.
func (d *Daemon) Status(ctx context.Context) (status.Status, error) {
	st := status.Status{Consul: status.Consul{Address: d.cfg.Consul.Address, Service: d.cfg.Service, Problems: []status.Problem{}}}
	d.watcher.Use(registry.Local{Judge: d.list.Show})
	snap, err := d.watcher.Once(ctx)
	errs := []error{err}
	if err != nil {
		st.Consul.Error = err.Error()
		if saved, ok := d.list.Load(); ok {
			snap, st.Consul.FromDisk = saved, d.cfg.NodesFile
		}
	}
	st.Consul.Index = snap.Index
	for _, p := range snap.Problems {
		st.Consul.Problems = append(st.Consul.Problems, status.Problem{Service: p.Service, Field: p.Field, Reason: p.Reason})
	}
	for _, m := range d.mirrors {
		one, err := m.Status(ctx, snap, st.Consul.Error == "")
		st.HAProxy = append(st.HAProxy, one)
		errs = append(errs, err)
	}
	return st, errors.Join(errs...)
}

// ReplaceCertificate gives every HAProxy the certificate and key of two PEM files without a reload: see
// mirror.ReplaceCertificate. Consul and its token are not needed.
func ReplaceCertificate(ctx context.Context, cfg Config, log hclog.Logger, certFile, keyFile string) error {
	pair, err := certificate.Load(certFile, keyFile, time.Now())
	if err != nil {
		return err
	}
	path, err := haproxy.NewPath(cfg.HAProxy.Certificate)
	if err != nil {
		return fmt.Errorf("haproxy.certificate: %w", err)
	}
	if err := mirror.ReplaceCertificate(ctx, cfg.HAProxy.AdminSockets, path, pair, log); err != nil {
		return err
	}
	return touchLoaded(cfg.HAProxy.StateFile)
}
