package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
)

// dns answers the lookups of one test.
type dns struct {
	addrs []string
	err   error
	asked int
}

func (d *dns) lookup(context.Context, string) ([]netip.Addr, error) {
	d.asked++
	var all []netip.Addr
	for _, a := range d.addrs {
		all = append(all, netip.MustParseAddr(a))
	}
	return all, d.err
}

func named(t *testing.T, host string) Node {
	t.Helper()
	name, err := haproxy.NewHostname(host)
	require.NoError(t, err)
	return Node{Host: name, Node: pool.Node{ID: host, Addr: netip.AddrPortFrom(netip.Addr{}, 14265)}}
}

func numbered(addr string) Node {
	return Node{Node: pool.Node{ID: addr, Addr: netip.MustParseAddrPort(addr)}}
}

func TestTheAddressOfAName(t *testing.T) {
	notFound := &net.DNSError{Err: "no such host", IsNotFound: true}
	for name, test := range map[string]struct {
		// answers come one after the other; each is looked up again.
		answers  []dns
		after    time.Duration
		want     string
		problem  string
		complete bool
	}{
		"the smallest":                        {answers: []dns{{addrs: []string{"10.0.0.9", "10.0.0.2"}}}, want: "10.0.0.2:14265", complete: true},
		"an IPv4 address in IPv6's form":      {answers: []dns{{addrs: []string{"::ffff:10.0.0.2"}}}, want: "10.0.0.2:14265", complete: true},
		"it stays while it is an answer":      {answers: []dns{{addrs: []string{"10.0.0.9"}}, {addrs: []string{"10.0.0.2", "10.0.0.9"}}}, want: "10.0.0.9:14265", complete: true},
		"it changes":                          {answers: []dns{{addrs: []string{"10.0.0.9"}}, {addrs: []string{"10.0.0.2"}}}, want: "10.0.0.2:14265", complete: true},
		"the last one is kept":                {answers: []dns{{addrs: []string{"10.0.0.9"}}, {err: errors.New("timeout")}}, want: "10.0.0.9:14265", problem: "its last address 10.0.0.9 is kept", complete: true},
		"nothing is known yet":                {answers: []dns{{err: errors.New("timeout")}}, problem: "the service is skipped until it can"},
		"nothing is known for a long time":    {answers: []dns{{err: errors.New("timeout")}}, after: firstLookupTimeout + 1, problem: "the service is skipped until it can", complete: true},
		"there is no such name":               {answers: []dns{{err: notFound}}, problem: "no such host", complete: true},
		"an empty answer":                     {answers: []dns{{}}, problem: "no address in the answer"},
		"an address that is no single host's": {answers: []dns{{addrs: []string{"0.0.0.0"}}}, problem: "is not the address of a single host", complete: true},
	} {
		t.Run(name, func(t *testing.T) {
			clock, d := clockwork.NewFakeClock(), &dns{}
			r := newResolver(d.lookup, parser{}.checkAddr, clock)
			nodes := []Node{named(t, "node.example"), numbered("10.0.0.1:80")}
			first, _, complete := r.resolve(nodes)
			require.Len(t, first, 1, "the name is not known yet")
			require.False(t, complete)
			require.True(t, r.missing())
			for _, answer := range test.answers {
				d.addrs, d.err = answer.addrs, answer.err
				r.refresh(t.Context(), true, nodes)
			}
			require.False(t, r.missing())
			clock.Advance(test.after)
			got, problems, complete := r.resolve(nodes)
			want := []Node{numbered("10.0.0.1:80")}
			if test.want != "" {
				n := nodes[0]
				n.Addr = netip.MustParseAddrPort(test.want)
				want = append([]Node{n}, want...)
			}
			assert.Equal(t, want, got)
			assert.Equal(t, test.complete, complete)
			if test.problem == "" {
				assert.Empty(t, problems)
			} else {
				assert.Contains(t, fmt.Sprint(problems), test.problem)
			}
		})
	}
}

func TestOnlyNewNamesAreLookedUpBetweenTheIntervals(t *testing.T) {
	d := &dns{addrs: []string{"10.0.0.2"}}
	r := newResolver(d.lookup, parser{}.checkAddr, clockwork.NewFakeClock())
	nodes := []Node{named(t, "a.example")}
	r.resolve(nodes)
	assert.True(t, r.refresh(t.Context(), false, nodes))
	assert.False(t, r.refresh(t.Context(), false, nodes))
	assert.Equal(t, 1, d.asked)
	assert.False(t, r.refresh(t.Context(), true, nodes), "the same answer again")
	assert.Equal(t, 2, d.asked)
}

func TestANameThatNoNodeHasIsForgotten(t *testing.T) {
	d := &dns{addrs: []string{"10.0.0.2"}}
	r := newResolver(d.lookup, parser{}.checkAddr, clockwork.NewFakeClock())
	nodes := []Node{named(t, "a.example")}
	r.resolve(nodes)
	r.refresh(t.Context(), false, nodes)
	r.refresh(t.Context(), true, nil)
	assert.Empty(t, r.names)
}

func TestALookupThatIsCutShortSaysNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := newResolver(func(ctx context.Context, _ string) ([]netip.Addr, error) {
		cancel()
		return nil, ctx.Err()
	}, parser{}.checkAddr, clockwork.NewFakeClock())
	nodes := []Node{named(t, "a.example")}
	r.resolve(nodes)
	assert.False(t, r.refresh(ctx, false, nodes))
	assert.True(t, r.missing())
}

func TestTheSystemsResolverIsUsed(t *testing.T) {
	addrs, err := SystemLookup(t.Context(), "localhost")
	require.NoError(t, err)
	assert.NotEmpty(t, addrs)
}
