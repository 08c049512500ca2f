package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
	"golang.org/x/sync/errgroup"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
)

const (
	// refreshInterval is how often every host name is looked up again.
	refreshInterval = 30 * time.Second
	// lookupTimeout bounds the lookup of one name.
	lookupTimeout = 3 * time.Second
	// maxLookups is how many names are looked up at once.
	maxLookups = 16
	// firstLookupTimeout is how long a name without any answer holds up the removal of nodes: each of them may be the one
	// that it stands for.
	firstLookupTimeout = time.Minute
)

// LookupFunc finds the IP addresses of a host name.
type LookupFunc func(ctx context.Context, host string) ([]netip.Addr, error)

// SystemLookup uses the host's resolver.
func SystemLookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// resolver finds the addresses of nodes that are registered by a host name. It keeps the last good one for as long as the
// name is registered.
type resolver struct {
	lookup LookupFunc
	// check refuses addresses that are no node's.
	check func(netip.AddrPort) error
	clock clockwork.Clock

	mu    sync.Mutex
	names map[haproxy.Hostname]*name
}

// name is what is known of a host name.
type name struct {
	addr netip.Addr // the zero value until the first good answer
	err  error      // of the last lookup
	// since is when the name was first seen.
	since time.Time
	// tried is set after the first lookup.
	tried bool
}

func newResolver(lookup LookupFunc, check func(netip.AddrPort) error, clock clockwork.Clock) *resolver {
	return &resolver{lookup: lookup, check: check, clock: clock, names: map[haproxy.Hostname]*name{}}
}

// resolve gives every node its address, from what is known already. A node whose name has no address yet is left out;
// complete is false while that may still change, so that nobody takes it for deregistered.
func (r *resolver) resolve(nodes []Node) (resolved []Node, found []Problem, complete bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	complete = true
	for _, n := range nodes {
		if n.Host == (haproxy.Hostname{}) {
			resolved = append(resolved, n)
			continue
		}
		known := r.names[n.Host]
		if known == nil {
			known = &name{since: r.clock.Now()}
			r.names[n.Host] = known
		}
		if known.err != nil {
			found = append(found, known.problem(n))
		}
		if !known.addr.IsValid() {
			complete = complete && r.hopeless(known)
			continue
		}
		n.Addr = netip.AddrPortFrom(known.addr, n.Addr.Port())
		if err := r.check(n.Addr); err != nil {
			found = append(found, Problem{Service: n.ID, Field: "address", Reason: fmt.Sprintf("%s: %v; the service is skipped", n.Host, err)})
			continue
		}
		resolved = append(resolved, n)
	}
	return resolved, found, complete
}

// hopeless reports whether nobody should wait for the name's first address: DNS says that there is no such name, or has said
// nothing for a long time.
func (r *resolver) hopeless(n *name) bool {
	var dns *net.DNSError
	if errors.As(n.err, &dns) && dns.IsNotFound {
		return true
	}
	return n.tried && r.clock.Since(n.since) > firstLookupTimeout
}

func (n *name) problem(node Node) Problem {
	what := "the service is skipped until it can"
	if n.addr.IsValid() {
		what = "its last address " + n.addr.String() + " is kept"
	}
	return Problem{
		Service: node.ID, Field: "address",
		Reason: fmt.Sprintf("host name %s cannot be resolved (%v); %s", node.Host, n.err, what),
	}
}

// missing reports whether a name waits for its first lookup.
func (r *resolver) missing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.names {
		if !n.tried {
			return true
		}
	}
	return false
}

// refresh looks names up, the new ones or all of them, and forgets those that no node has any more. It reports whether
// anything has changed.
func (r *resolver) refresh(ctx context.Context, all bool, nodes []Node) bool {
	due := r.due(all, nodes)
	changed := make([]bool, len(due))
	var group errgroup.Group
	group.SetLimit(maxLookups)
	for i, host := range due {
		group.Go(func() error {
			changed[i] = r.update(ctx, host)
			return nil
		})
	}
	_ = group.Wait() // no lookup returns an error: it is kept with its name
	return slices.Contains(changed, true)
}

// due forgets the names that no node has, and returns those to look up.
func (r *resolver) due(all bool, nodes []Node) []haproxy.Hostname {
	used := map[haproxy.Hostname]bool{}
	for _, n := range nodes {
		used[n.Host] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var due []haproxy.Hostname
	for host, n := range r.names {
		switch {
		case !used[host]:
			delete(r.names, host)
		case all || !n.tried:
			due = append(due, host)
		}
	}
	return due
}

// update looks one name up. The address that the name has stays as long as it is among the answers; else the smallest is
// taken, as on every load balancer.
func (r *resolver) update(ctx context.Context, host haproxy.Hostname) bool {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := r.lookup(ctx, host.String())
	for i := range addrs {
		addrs[i] = addrs[i].Unmap().WithZone("")
	}
	if err == nil && len(addrs) == 0 {
		err = errors.New("no address in the answer")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.names[host]
	if n == nil || errors.Is(ctx.Err(), context.Canceled) {
		return false
	}
	changed := (n.err == nil) != (err == nil) || !n.tried
	n.tried, n.err = true, err
	if err != nil || slices.Contains(addrs, n.addr) {
		return changed
	}
	n.addr = slices.MinFunc(addrs, netip.Addr.Compare)
	return true
}
