package handler

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/runtime"
)

const (
	// refreshNames is how often every host name is looked up again.
	refreshNames = 30 * time.Second
	// lookupPatience bounds the lookup of one name.
	lookupPatience = 3 * time.Second
	// lookups is how many names are looked up at once.
	lookups = 16
	// namePatience is how long a name that cannot be asked for holds up the
	// removal of nodes: any of them may be the one that it stands for.
	namePatience = time.Minute
)

// resolver finds the addresses of nodes that are registered by a host name. It
// keeps the last good one for as long as the name is registered.
type resolver struct {
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)

	mu    sync.Mutex
	names map[runtime.Hostname]*name
}

// name is what is known of a host name.
type name struct {
	addr netip.Addr // the zero value until the first good answer
	err  error      // of the last lookup
	// since is when the name was first seen.
	since time.Time
	asked bool
}

func newResolver() *resolver {
	return &resolver{
		lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		},
		names: map[runtime.Hostname]*name{},
	}
}

// resolve gives every node its address, from what is known already. A node
// whose name has no address yet is left out; settled is false while that may
// still change, so that nobody takes it for deregistered.
func (r *resolver) resolve(nodes []registry.Node) (resolved []registry.Node, problems []registry.Problem, settled bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	settled = true
	for _, n := range nodes {
		if n.Host == (runtime.Hostname{}) {
			resolved = append(resolved, n)
			continue
		}
		known := r.names[n.Host]
		if known == nil {
			known = &name{since: time.Now()}
			r.names[n.Host] = known
		}
		if known.err != nil {
			problems = append(problems, known.problem(n))
		}
		if !known.addr.IsValid() {
			settled = settled && known.hopeless()
			continue
		}
		n.Addr = netip.AddrPortFrom(known.addr, n.Addr.Port())
		if err := registry.CheckAddr(n.Addr); err != nil {
			problems = append(problems, registry.Problem{Service: n.ID, Field: "address", Reason: fmt.Sprintf("%s: %v; the service is skipped", n.Host, err)})
			continue
		}
		resolved = append(resolved, n)
	}
	return resolved, problems, settled
}

// hopeless: DNS says that there is no such name, or nothing for a long time.
func (n *name) hopeless() bool {
	var dns *net.DNSError
	if errors.As(n.err, &dns) && dns.IsNotFound {
		return true
	}
	return n.asked && time.Since(n.since) > namePatience
}

func (n *name) problem(node registry.Node) registry.Problem {
	what := "the service is skipped until it can"
	if n.addr.IsValid() {
		what = "its last address " + n.addr.String() + " is kept"
	}
	return registry.Problem{
		Service: node.ID, Field: "address",
		Reason: fmt.Sprintf("host name %s cannot be resolved (%v); %s", node.Host, n.err, what),
	}
}

// missing says whether a name waits for its first lookup.
func (r *resolver) missing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.names {
		if !n.asked {
			return true
		}
	}
	return false
}

// refresh looks names up, those that never were or all of them, and forgets
// those that no node has any more. It says whether anything has changed.
func (r *resolver) refresh(ctx context.Context, all bool, nodes []registry.Node) bool {
	r.mu.Lock()
	used := map[runtime.Hostname]bool{}
	for _, n := range nodes {
		used[n.Host] = true
	}
	var due []runtime.Hostname
	for host, n := range r.names {
		switch {
		case !used[host]:
			delete(r.names, host)
		case all || !n.asked:
			due = append(due, host)
		}
	}
	r.mu.Unlock()

	changes := make(chan bool, len(due))
	slots := make(chan struct{}, lookups)
	for _, host := range due {
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			changes <- r.ask(ctx, host)
		}()
	}
	changed := false
	for range due {
		changed = <-changes || changed
	}
	return changed
}

// ask looks one name up. The address that the name has stays as long as it is
// among the answers; else the smallest is taken, as on every load balancer.
func (r *resolver) ask(ctx context.Context, host runtime.Hostname) bool {
	ctx, cancel := context.WithTimeout(ctx, lookupPatience)
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
	if n == nil || ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return false
	}
	changed := (n.err == nil) != (err == nil) || !n.asked
	n.asked, n.err = true, err
	if err != nil {
		return changed
	}
	if slices.Contains(addrs, n.addr) {
		return changed
	}
	n.addr = slices.MinFunc(addrs, netip.Addr.Compare)
	return true
}
