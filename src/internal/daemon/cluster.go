package daemon

import (
	"context"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/mirror"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/status"
)

// Cluster reads what all hosts say of themselves. The error is also in the result.
func (d *Daemon) Cluster(ctx context.Context) (status.Cluster, error) {
	c, err := d.store.Read(ctx)
	c.Compare(d.clock.Now(), d.cfg.Addresses)
	return c, err
}

// report is what the other hosts see of this one. With slots set it reads HAProxy's, else those that were read last will do.
func (d *Daemon) report(ctx context.Context, slots bool) status.Report {
	reasons, _ := d.readiness()
	if snap := d.snapshot.Load(); slots && snap != nil {
		d.slots = d.readSlots(ctx, *snap)
	}
	return status.Report{
		Host: d.cfg.hostname(), Version: d.Version, Started: d.started, NotReady: append([]string{}, reasons...),
		Addresses: present(d.cfg.Addresses), HAProxy: d.slots,
	}
}

func (d *Daemon) readSlots(ctx context.Context, snap registry.Snapshot) (all []status.ReportedHAProxy) {
	ctx, cancel := context.WithTimeout(ctx, slotsTimeout)
	defer cancel()
	for _, path := range d.cfg.HAProxy.AdminSockets {
		opts, err := d.cfg.options(path)
		one := status.HAProxy{Socket: path}
		if err == nil {
			one, err = mirror.Slots(ctx, opts, mirror.DialSocket(path), snap)
		}
		if err != nil {
			one.Error = err.Error()
		}
		all = append(all, one.Reported())
	}
	return all
}

// hostname is what Consul calls this host.
func (c Config) hostname() string {
	if c.Host != "" {
		return c.Host
	}
	name, _ := os.Hostname()
	short, _, _ := strings.Cut(name, ".")
	return short
}

// present are the addresses that this host has now.
func present(addresses []string) []string {
	return slices.DeleteFunc(append([]string{}, addresses...), func(text string) bool {
		ip, err := netip.ParseAddr(text)
		return err != nil || !registry.IsLocal(ip)
	})
}
