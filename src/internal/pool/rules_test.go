package pool

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
)

func weight(w int) func(*Node) { return func(n *Node) { n.Weight = w } }
func reduced(n *Node)          { n.Health, n.Reduced = Warning, true }

func sni(name string) func(*Node) {
	return func(n *Node) {
		host, err := haproxy.NewHostname(name)
		if err != nil {
			panic(err)
		}
		n.SNI = host
	}
}

func lines(cmds []haproxy.Command) []string {
	text := make([]string, 0, len(cmds))
	for _, cmd := range cmds {
		text = append(text, cmd.String())
	}
	return text
}

func TestSharesOfNodesInWarning(t *testing.T) {
	for name, test := range map[string]struct {
		percent int
		nodes   []Node
		want    []int
	}{
		"nobody in warning":          {25, []Node{node("10.0.0.1:1"), node("10.0.0.2:1", weight(7))}, []int{1, 7}},
		"a quarter of 100":           {25, []Node{node("10.0.0.1:1"), node("10.0.0.2:1", weight(100), reduced)}, []int{1, 25}},
		"a quarter of 1":             {25, []Node{node("10.0.0.1:1", reduced), node("10.0.0.2:1"), node("10.0.0.3:1", weight(5))}, []int{1, 4, 20}},
		"a third of 1":               {33, []Node{node("10.0.0.1:1", reduced), node("10.0.0.2:1")}, []int{1, 4}},
		"no room to multiply":        {25, []Node{node("10.0.0.1:1", reduced), node("10.0.0.2:1", weight(200))}, []int{1, 200}},
		"some room":                  {1, []Node{node("10.0.0.1:1", reduced), node("10.0.0.2:1", weight(100))}, []int{1, 200}},
		"0 stays 0":                  {25, []Node{node("10.0.0.1:1", weight(0), reduced), node("10.0.0.2:1")}, []int{0, 4}},
		"all of it":                  {100, []Node{node("10.0.0.1:1", reduced), node("10.0.0.2:1")}, []int{1, 1}},
		"Consul's own is not shared": {25, []Node{node("10.0.0.1:1", health(Warning), weight(3)), node("10.0.0.2:1", weight(9))}, []int{3, 9}},
	} {
		got := []int{}
		for _, n := range Shares(test.nodes, test.percent) {
			got = append(got, n.Weight)
		}
		assert.Equal(t, test.want, got, name)
	}
}

func TestSharesAreInRangeAndKeepTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := genNodes(t)
		for i := range nodes {
			nodes[i].Reduced = nodes[i].Health == Warning && rapid.Bool().Draw(t, "reduced")
		}
		got := Shares(nodes, rapid.IntRange(1, 100).Draw(t, "percent"))
		for i, n := range got {
			if n.Weight > haproxy.MaxWeight || (n.Weight == 0) != (nodes[i].Weight == 0) {
				t.Fatalf("weight %d became %d", nodes[i].Weight, n.Weight)
			}
			for j, m := range got {
				if !n.Reduced && !m.Reduced && n.Weight*nodes[j].Weight != m.Weight*nodes[i].Weight {
					t.Fatalf("the shares of two that pass have changed: %v %v", n, m)
				}
			}
		}
	})
}

func TestTheLastThatServesStaysUntilItsReplacementDoes(t *testing.T) {
	b := newBackend(3, 0, 0)
	_, err := b.settle([]Node{node("10.0.0.1:1"), node("10.0.0.2:1", health(Critical))})
	require.NoError(t, err)
	p := Make([]Node{node("10.0.0.1:1", health(Critical)), node("10.0.0.2:1")}, b.read())
	assert.Empty(t, p.Out)
	require.Len(t, p.In, 1)
	require.Len(t, p.Leave, 1)
	assert.Contains(t, p.Leave[0].String(), "maint")

	p = Make([]Node{node("10.0.0.1:1", health(Critical)), node("10.0.0.2:1", health(Critical))}, b.read())
	assert.Len(t, p.Out, 1, "without a replacement a failing node is out at once")
}

func TestTheLastThatServesDoesNotDrainWhileRequestsWait(t *testing.T) {
	b := newBackend(3, 0, 0)
	_, err := b.settle([]Node{node("10.0.0.1:1"), node("10.0.0.2:1")})
	require.NoError(t, err)
	b.Queued["b"] = 5
	p, err := b.settle(nil)
	require.NoError(t, err)
	require.Len(t, b.serving(), 1, "one of the two has left")
	require.Len(t, p.Draining, 1)

	late := b.read()
	for i := range late.Slots {
		late.Slots[i].Expired = late.Slots[i].ID == p.Draining[0]
	}
	assert.NotEmpty(t, Make(nil, late).Leave, "not for longer than the drain timeout")
	b.Queued["b"] = 0
	_, err = b.settle(nil)
	require.NoError(t, err)
	assert.Empty(t, b.serving())
}

func TestASlotThatHAProxyChecksWaitsForItsFirstGoodCheck(t *testing.T) {
	b := newBackend(3, 0, 0)
	for _, s := range b.Servers("b") {
		s.Checked = true
	}
	p := Make([]Node{node("10.0.0.1:1")}, b.read())
	require.Len(t, p.In, 1)
	assert.False(t, p.In[0].Checked, "nobody serves: the registry's word is enough")
	_, err := b.settle([]Node{node("10.0.0.1:1")})
	require.NoError(t, err)

	p = Make([]Node{node("10.0.0.1:1"), node("10.0.0.2:1")}, b.read())
	require.Len(t, p.In, 1)
	slot := p.In[0].Slot.String()
	assert.Equal(t, []string{
		"set server " + slot + " state drain", "set server " + slot + " health down", "set server " + slot + " state ready",
	}, lines(p.In[0].Commands()))
}

func TestTheNameForTLSIsSetBeforeTheSlotServesAndGoesWithTheNode(t *testing.T) {
	b := newBackend(0, 2, 0)
	want := []Node{node("10.0.0.1:1", tls(Verified), sni("a.example"))}
	p := Make(want, b.read())
	assert.Contains(t, strings.Join(lines(p.Fill), "\n"), "add map /var/lib/haproxy/b.sni https")
	_, err := b.settle(want)
	require.NoError(t, err)
	slot := b.serving()[want[0].Addr]
	assert.Equal(t, "a.example", b.sni[slot.ID.Name()])

	_, err = b.settle([]Node{node("10.0.0.1:1", tls(Verified), sni("b.example"))})
	require.NoError(t, err)
	assert.Equal(t, "b.example", b.sni[slot.ID.Name()])
	_, err = b.settle(nil)
	require.NoError(t, err)
	assert.Empty(t, b.sni)
	assert.Equal(t, Placeholder, slot.Addr)
}

func TestServersAreAddedForNodesThatFindNoSlot(t *testing.T) {
	b := newBackend(1, 0, 1)
	nodes := []Node{
		node("10.0.0.1:1"), node("10.0.0.2:1"), node("10.0.0.3:1"),
		node("10.0.0.4:1", tls(Unverified)), node("10.0.0.5:1", tls(Unverified), sni("a.example")),
	}
	p, err := b.settle(nodes)
	require.NoError(t, err)
	assert.Len(t, p.Waiting, 3)

	b.grows = true
	p, err = b.settle(nodes)
	require.NoError(t, err)
	assert.Empty(t, p.Waiting)
	assert.Len(t, b.serving(), 5)
	assert.NotNil(t, b.Server("b", "http-overflow1"))
	assert.NotNil(t, b.Server("b", "http-overflow2"))
	assert.NotNil(t, b.Server("b", "https-noverify-overflow1"))

	_, err = b.settle(nodes[:1])
	require.NoError(t, err)
	for _, s := range b.Servers("b") {
		if s.Addr != nodes[0].Addr {
			assert.NotContains(t, s.ID.Name(), overflow, "it is deleted with its node")
		}
	}
}

func TestABackendThatGrowsServesAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, nodes := genBackend(t), genNodes(t)
		b.grows = true
		p, err := b.settle(nodes)
		if err != nil {
			t.Fatal(err)
		}
		b.finish(t, nodes, p)
		if len(p.Waiting) > 0 {
			t.Fatalf("%v wait", p.Waiting)
		}
		if p, err = b.settle(nil); err != nil {
			t.Fatal(err)
		}
		for _, s := range b.Servers("b") {
			if strings.Contains(s.ID.Name(), overflow) && s.Busy == 0 {
				t.Fatalf("%s is left", s.ID)
			}
		}
	})
}

func TestTheGuardMindsOnlyManyAtOnce(t *testing.T) {
	serving := func(n int) (*backend, []Node) {
		b, nodes := newBackend(20, 0, 0), []Node{}
		for i := range n {
			nodes = append(nodes, node(fmt.Sprintf("10.0.0.%d:1", i+1)))
		}
		_, err := b.settle(nodes)
		require.NoError(t, err)
		return b, nodes
	}
	for _, test := range []struct {
		serving, fail, percent int
		want                   bool
	}{
		{2, 2, 50, false},
		{3, 2, 50, false},
		{3, 3, 50, true},
		{6, 3, 50, false},
		{7, 4, 50, true},
		{10, 10, 0, false},
		{10, 10, 100, false},
		{10, 10, 99, true},
		{10, 3, 20, true},
		{10, 2, 10, false},
	} {
		b, nodes := serving(test.serving)
		assert.False(t, Suspicious(nodes, b.read(), test.percent))
		gone := nodes[test.fail:]
		assert.Equal(t, test.want, Suspicious(gone, b.read(), test.percent), "not listed: %+v", test)
		failing := slices.Clone(nodes)
		for i := range test.fail {
			failing[i].Health = Critical
		}
		assert.Equal(t, test.want, Suspicious(failing, b.read(), test.percent), "failing: %+v", test)
		for _, doubtful := range [][]Node{gone, failing} {
			kept := Make(Keep(doubtful, b.read()), b.read())
			assert.True(t, kept.Empty(), "%v", lines(kept.Commands()))
		}
	}
}

func TestAssignedSaysWhereANodeIs(t *testing.T) {
	b := newBackend(3, 3, 0)
	want := []Node{node("10.0.0.1:1"), node("10.0.0.2:1", tls(Verified))}
	_, err := b.settle(want)
	require.NoError(t, err)
	seats := Assigned(want, b.read())
	require.Len(t, seats, 2)
	assert.Equal(t, Verified, seats[netip.MustParseAddrPort("10.0.0.2:1")].TLS)
}

func TestAChangedCheckOfHAProxyIsPutBack(t *testing.T) {
	b := newBackend(3, 0, 0)
	for i, s := range b.Servers("b") {
		s.Checked, s.CheckDisabled = true, i == 0
		s.CheckPort, s.CheckAddr = 99, netip.MustParseAddr("127.0.0.9")
	}
	_, err := b.settle([]Node{node("10.0.0.1:1")})
	require.NoError(t, err)
	for _, s := range b.read().Slots {
		assert.False(t, s.CheckDisabled)
		assert.Zero(t, s.CheckPort)
	}
}
