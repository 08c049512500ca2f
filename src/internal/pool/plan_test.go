package pool

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy/haproxytest"
)

// backend is a HAProxy with one backend, "b".
type backend struct {
	*haproxytest.HAProxy
	// sni is the map of the slots' names for TLS.
	sni   map[string]string
	grows bool
}

func newBackend(plain, verified, unverified int) *backend {
	b := &backend{HAProxy: haproxytest.New()}
	b.AddBackend("b", haproxytest.Template{Prefix: Plain.Prefix(), Slots: plain},
		haproxytest.Template{Prefix: Verified.Prefix(), Slots: verified}, haproxytest.Template{Prefix: Unverified.Prefix(), Slots: unverified})
	b.sni = b.AddMap(sniMap.String())
	return b
}

func (b *backend) read() Backend {
	view := Backend{Name: "b", Queued: b.Queued["b"], MayGrow: b.grows, SNIMap: sniMap}
	for _, server := range b.Servers("b") {
		s, ok := NewSlot(*server)
		if !ok {
			panic(server.ID)
		}
		s.SNI = b.sni[s.ID.Name()]
		view.Slots = append(view.Slots, s)
	}
	return view
}

var sniMap = func() haproxy.Path {
	m, err := haproxy.NewPath("/var/lib/haproxy/b.sni")
	if err != nil {
		panic(err)
	}
	return m
}()

func (b *backend) run(cmd haproxy.Command) error {
	if err := cmd.Err(b.Run(cmd.String())); err != nil {
		return err
	}
	if len(b.Misuse()) > 0 {
		return fmt.Errorf("a serving slot must not change its address: %v", b.Misuse())
	}
	return nil
}

// settle plans and applies until nothing is left to do.
func (b *backend) settle(nodes []Node) (Plan, error) {
	for range 8 {
		p := Make(nodes, b.read())
		if p.Empty() {
			return p, nil
		}
		for _, cmd := range p.Commands() {
			if err := b.run(cmd); err != nil {
				return p, err
			}
		}
	}
	return Plan{}, fmt.Errorf("not settled after eight steps")
}

func (b *backend) serving() map[netip.AddrPort]*haproxy.Server { return b.Serving("b") }

func node(addr string, change ...func(*Node)) Node {
	n := Node{ID: addr, Addr: netip.MustParseAddrPort(addr), Weight: 1}
	for _, c := range change {
		c(&n)
	}
	return n
}

func health(h Health) func(*Node) { return func(n *Node) { n.Health = h } }
func tls(t TLS) func(*Node)       { return func(n *Node) { n.TLS = t } }

func TestANodeIsFilledReadBackAndThenReady(t *testing.T) {
	b := newBackend(3, 0, 0)
	p := Make([]Node{node("10.0.0.1:14265", func(n *Node) { n.Weight, n.MaxConn = 5, 9 })}, b.read())
	assert.Empty(t, p.Out)
	require.Len(t, p.Fill, 3)
	assert.Contains(t, p.Fill[0].String(), "addr 10.0.0.1 port 14265")
	assert.Contains(t, p.Fill[1].String(), "weight 5")
	assert.Contains(t, p.Fill[2].String(), "9")
	require.Len(t, p.In, 1)
	assert.Empty(t, p.Live)
	assert.Empty(t, p.Leave)
}

func TestAFailingNodeIsOutAtOnceAndKeepsItsSlot(t *testing.T) {
	b := newBackend(3, 0, 0)
	_, err := b.settle([]Node{node("10.0.0.1:1")})
	require.NoError(t, err)
	slot := b.serving()[netip.MustParseAddrPort("10.0.0.1:1")]
	_, err = b.settle([]Node{node("10.0.0.1:1", health(Critical))})
	require.NoError(t, err)
	assert.Equal(t, haproxy.Maint, slot.State)
	assert.Equal(t, "10.0.0.1:1", slot.Addr.String())
	p := Make([]Node{node("10.0.0.1:1")}, b.read())
	require.Len(t, p.Commands(), 1, "it comes back with one command")
}

func TestAnUncheckedNodeStaysAsItIs(t *testing.T) {
	b := newBackend(3, 0, 0)
	_, err := b.settle([]Node{node("10.0.0.1:1")})
	require.NoError(t, err)
	after := []Node{node("10.0.0.1:1", health(Unchecked)), node("10.0.0.2:1", health(Unchecked))}
	p := Make(after, b.read())
	assert.True(t, p.Empty(), "%v", p.Commands())
}

func TestADeregisteredNodeDrainsUntilItIsIdle(t *testing.T) {
	b := newBackend(3, 0, 0)
	_, err := b.settle([]Node{node("10.0.0.1:1")})
	require.NoError(t, err)
	slot := b.serving()[netip.MustParseAddrPort("10.0.0.1:1")]
	slot.Busy = 1
	p, err := b.settle(nil)
	require.NoError(t, err)
	assert.Equal(t, haproxy.Drain, slot.State)
	assert.Equal(t, []haproxy.ServerID{slot.ID}, p.Draining)

	late := b.read()
	for i := range late.Slots {
		late.Slots[i].Expired = late.Slots[i].ID == slot.ID
	}
	assert.Len(t, Make(nil, late).Leave, 2, "the deadline frees it although it is busy")

	slot.Busy = 0
	_, err = b.settle(nil)
	require.NoError(t, err)
	assert.Equal(t, haproxy.Maint, slot.State)
	assert.Equal(t, Placeholder, slot.Addr)
}

func TestANodeInMaintenanceDrainsAndKeepsItsSlot(t *testing.T) {
	b := newBackend(3, 0, 0)
	_, err := b.settle([]Node{node("10.0.0.1:1")})
	require.NoError(t, err)
	slot := b.serving()[netip.MustParseAddrPort("10.0.0.1:1")]
	_, err = b.settle([]Node{node("10.0.0.1:1", health(Maintenance))})
	require.NoError(t, err)
	assert.Equal(t, haproxy.Maint, slot.State)
	assert.Equal(t, "10.0.0.1:1", slot.Addr.String())
}

func TestAChangeOfSchemeIsMakeBeforeBreak(t *testing.T) {
	b := newBackend(2, 2, 2)
	_, err := b.settle([]Node{node("10.0.0.1:1")})
	require.NoError(t, err)
	want := []Node{node("10.0.0.1:1", tls(Unverified))}
	first := Make(want, b.read())
	assert.Len(t, first.In, 1)
	assert.Empty(t, first.Leave, "the old slot serves until the new one does")
	_, err = b.settle(want)
	require.NoError(t, err)
	serving := b.serving()
	require.Len(t, serving, 1)
	assert.Contains(t, serving[want[0].Addr].ID.Name(), "https-noverify")
}

func TestMoreNodesThanSlots(t *testing.T) {
	b := newBackend(2, 0, 0)
	var nodes []Node
	for i := range 4 {
		nodes = append(nodes, node(fmt.Sprintf("10.0.0.%d:1", i+1)))
	}
	p, err := b.settle(nodes)
	require.NoError(t, err)
	assert.Len(t, p.Waiting, 2)
	assert.Len(t, b.serving(), 2)
	for _, s := range b.serving() { // one in service fails: its slot goes to one that waits
		for i := range nodes {
			if nodes[i].Addr == s.Addr {
				nodes[i].Health = Critical
			}
		}
		break
	}
	p, err = b.settle(nodes)
	require.NoError(t, err)
	assert.Len(t, p.Waiting, 1)
	assert.Len(t, b.serving(), 2)
}

func TestServersOfTheOperatorAreLeftAlone(t *testing.T) {
	for _, name := range []string{"backup", "http", "https-x1", "1", "node1"} {
		id, err := haproxy.NewServerID("b", name)
		require.NoError(t, err)
		_, ours := NewSlot(haproxy.Server{ID: id})
		assert.False(t, ours, name)
	}
}

func TestTwoLoadBalancersAgreeWithoutCollisions(t *testing.T) {
	one, two := newBackend(1000, 0, 0), newBackend(1000, 0, 0)
	var nodes, reversed []Node
	for i := range 10 {
		n := node(fmt.Sprintf("10.0.0.%d:14265", i))
		nodes, reversed = append(nodes, n), append([]Node{n}, reversed...)
	}
	for i := range nodes { // one sees them come one by one, the other at once
		_, err := one.settle(nodes[:i+1])
		require.NoError(t, err)
	}
	_, err := two.settle(reversed)
	require.NoError(t, err)
	for addr, s := range one.serving() {
		assert.Equal(t, s.ID, two.serving()[addr].ID)
	}
}

func genNodes(t *rapid.T) []Node {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Node {
		n := rapid.IntRange(1, 12).Draw(t, "host")
		return Node{
			ID:      fmt.Sprint(rapid.IntRange(1, 20).Draw(t, "id")),
			Addr:    netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), 14265),
			TLS:     TLS(rapid.IntRange(0, 2).Draw(t, "tls")),
			Health:  Health(rapid.IntRange(0, 4).Draw(t, "health")),
			Weight:  rapid.IntRange(0, 256).Draw(t, "weight"),
			MaxConn: rapid.IntRange(0, 3).Draw(t, "maxconn"),
		}
	}), 0, 12).Draw(t, "nodes")
}

// genBackend is any state that a backend can be in, also one that no plan of
// ours would make.
func genBackend(t *rapid.T) *backend {
	b := newBackend(rapid.IntRange(0, 6).Draw(t, "plain"), rapid.IntRange(0, 6).Draw(t, "verified"), rapid.IntRange(1, 6).Draw(t, "unverified"))
	for _, s := range b.Servers("b") {
		if rapid.Bool().Draw(t, "used") {
			s.Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(1, 12).Draw(t, "addr"))}), 14265)
		}
		s.State = rapid.SampledFrom([]haproxy.State{haproxy.Ready, haproxy.Drain, haproxy.Maint}).Draw(t, "state")
		s.Checked = rapid.Bool().Draw(t, "checked")
		s.Up = s.State != haproxy.Maint && (!s.Checked || rapid.Bool().Draw(t, "up"))
		if strings.HasPrefix(s.ID.Name(), "https") {
			if name := rapid.SampledFrom([]string{"", "a.example", "b.example"}).Draw(t, "sni"); name != "" {
				b.sni[s.ID.Name()] = name
			}
		}
		s.Busy = rapid.IntRange(0, 1).Draw(t, "busy")
		s.Weight = rapid.IntRange(0, 3).Draw(t, "weight")
	}
	return b
}

// finish makes HAProxy's checks pass and the backend what the nodes want, and compares. Before, slots may be held for nodes
// that are not up yet.
func (b *backend) finish(t *rapid.T, nodes []Node, p Plan) {
	usable := 0
	for _, s := range b.Servers("b") {
		if (Slot{Server: *s}).Usable() {
			usable++
		}
	}
	for _, id := range p.Held {
		if s := b.Server("b", id.Name()); !(Slot{Server: *s}).Usable() {
			t.Fatalf("%s is held and does not serve", id)
		}
	}
	if len(p.Held) > usable {
		t.Fatalf("%d slots are held, %d serve", len(p.Held), usable)
	}
	b.PassChecks()
	for _, s := range b.Servers("b") {
		s.Busy = 0 // a slot that still drains may be what a node waits for
	}
	p, err := b.settle(nodes)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Held) > 0 {
		t.Fatalf("%v are held though all are up", p.Held)
	}
	b.check(t, nodes, p)
}

// check says whether the backend is what the nodes want.
func (b *backend) check(t *rapid.T, nodes []Node, p Plan) {
	want := map[netip.AddrPort]Node{}
	for _, n := range byAddress(nodes) {
		want[n.Addr] = n
	}
	waits := map[netip.AddrPort]bool{}
	for _, n := range p.Waiting {
		waits[n.Addr] = true
	}
	count := map[netip.AddrPort]int{}
	for _, s := range b.Servers("b") {
		if s.State != haproxy.Ready {
			continue
		}
		n, ok := want[s.Addr]
		if !ok || n.Health > Unchecked {
			t.Fatalf("%s serves %s, which should not", s.ID, s.Addr)
		}
		if count[s.Addr]++; count[s.Addr] > 1 {
			t.Fatalf("%s is in two slots", s.Addr)
		}
		if n.Health <= Warning && (s.Weight != n.Weight || s.MaxConn != n.MaxConn) {
			t.Fatalf("%s has weight %d and maxconn %d, want %d and %d", s.ID, s.Weight, s.MaxConn, n.Weight, n.MaxConn)
		}
	}
	for addr, n := range want {
		if n.Health <= Warning && count[addr] != 1 && !waits[addr] {
			t.Fatalf("%s is not in service", addr)
		}
	}
}

func TestAnyBackendBecomesWhatTheNodesWant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, nodes := genBackend(t), genNodes(t)
		p, err := b.settle(nodes)
		if err != nil {
			t.Fatal(err)
		}
		b.finish(t, nodes, p)
	})
}

func TestAnInterruptionAtAnyPointIsRepairedByTheNextPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, nodes := genBackend(t), genNodes(t)
		cmds := Make(nodes, b.read()).Commands()
		for _, cmd := range cmds[:rapid.IntRange(0, len(cmds)).Draw(t, "until")] {
			if err := b.run(cmd); err != nil {
				t.Fatal(err)
			}
		}
		p, err := b.settle(nodes)
		if err != nil {
			t.Fatal(err)
		}
		b.finish(t, nodes, p)
	})
}

func TestNoNodeThatStaysIsMoved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBackend(8, 8, 8)
		before, after := genNodes(t), genNodes(t)
		if _, err := b.settle(before); err != nil {
			t.Fatal(err)
		}
		had := b.serving()
		ids := map[netip.AddrPort]haproxy.ServerID{}
		for addr, s := range had {
			ids[addr] = s.ID
		}
		kinds := map[netip.AddrPort]TLS{}
		for _, n := range byAddress(before) {
			kinds[n.Addr] = n.TLS
		}
		if _, err := b.settle(after); err != nil {
			t.Fatal(err)
		}
		now := b.serving()
		for _, n := range byAddress(after) {
			s := now[n.Addr]
			if id, ok := ids[n.Addr]; ok && s != nil && kinds[n.Addr] == n.TLS && s.ID != id {
				t.Fatalf("%s moved from %s to %s", n.Addr, id, s.ID)
			}
		}
	})
}
