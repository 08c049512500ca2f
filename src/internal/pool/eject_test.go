package pool

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
)

func checkedSlot(t require.TestingT, n int, s Standing, ejected int) Checked {
	id, err := haproxy.NewServerID("iri_back", fmt.Sprintf("http%d", n))
	require.NoError(t, err)
	return Checked{Slot: id, Standing: s, Ejected: time.Unix(int64(ejected), 0)}
}

func TestWhoIsReadmitted(t *testing.T) {
	for name, test := range map[string]struct {
		percent          int
		standings        []Standing
		readmit, release []int
	}{
		"nobody is ejected":            {50, []Standing{Accepted, Accepted}, nil, nil},
		"half of four":                 {50, []Standing{Ejected, Ejected, Accepted, Accepted}, nil, nil},
		"more than half of four":       {50, []Standing{Ejected, Ejected, Ejected, Accepted}, []int{2}, nil},
		"the only one":                 {50, []Standing{Ejected}, []int{0}, nil},
		"none may be":                  {0, []Standing{Accepted, Ejected, Accepted}, []int{1}, nil},
		"all may be":                   {100, []Standing{Ejected, Ejected}, nil, nil},
		"who waits does not count":     {50, []Standing{Awaiting, Awaiting, Awaiting, Ejected}, []int{3}, nil},
		"who waits is not ejected":     {50, []Standing{Awaiting, Awaiting, Ejected, Accepted}, nil, nil},
		"the rest stays readmitted":    {50, []Standing{Ejected, Ejected, Readmitted, Accepted}, nil, nil},
		"one returned, two are over":   {50, []Standing{Accepted, Ejected, Readmitted, Readmitted}, nil, nil},
		"the share would be kept":      {50, []Standing{Accepted, Accepted, Ejected, Readmitted}, nil, []int{3}},
		"one more while some are over": {50, []Standing{Ejected, Ejected, Readmitted, Ejected}, []int{3}, nil},
	} {
		var nodes []Checked
		for i, s := range test.standings {
			nodes = append(nodes, checkedSlot(t, i, s, i))
		}
		want := func(all []int) (slots []haproxy.ServerID) {
			for _, i := range all {
				slots = append(slots, nodes[i].Slot)
			}
			return slots
		}
		slices.Reverse(nodes)
		readmit, release := Readmit(nodes, test.percent)
		slices.Reverse(nodes)
		assert.Equal(t, want(test.readmit), readmit, name)
		assert.Equal(t, want(test.release), release, name)
	}
}

func TestReadmitKeepsTheShareAndConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		percent := rapid.IntRange(0, 100).Draw(t, "percent")
		nodes := map[haproxy.ServerID]*Checked{}
		var all []Checked
		for i := range rapid.IntRange(0, 20).Draw(t, "nodes") {
			n := checkedSlot(t, i, Standing(rapid.IntRange(0, 3).Draw(t, "standing")), rapid.IntRange(0, 5).Draw(t, "ejected"))
			nodes[n.Slot] = &n
			all = append(all, n)
		}
		readmit, release := Readmit(all, percent)
		for _, id := range readmit {
			require.Equal(t, Ejected, nodes[id].Standing)
			nodes[id].Standing = Readmitted
		}
		for _, id := range release {
			require.Equal(t, Readmitted, nodes[id].Standing)
			nodes[id].Standing = Ejected // the worst that can come of it
		}
		ejected, count := 0, 0
		for _, n := range nodes {
			if n.Standing == Ejected {
				ejected++
			}
			if n.Standing != Awaiting {
				count++
			}
		}
		require.LessOrEqual(t, ejected, count*percent/100)
		for _, in := range readmit {
			for _, n := range nodes {
				require.False(t, n.Standing == Ejected && n.Ejected.After(nodes[in].Ejected), "who was ejected last is readmitted first")
			}
		}
		after := make([]Checked, 0, len(nodes))
		for _, n := range nodes {
			after = append(after, *n)
		}
		readmit, release = Readmit(after, percent)
		require.Empty(t, readmit, "there is nothing left to do")
		require.Empty(t, release)
	})
}

func TestACheckStaysOffOnlyWhileTheReadmittedNodeServes(t *testing.T) {
	for name, test := range map[string]struct {
		nodes []Node
		state haproxy.State
		want  bool
	}{
		"it serves":               {[]Node{node("10.0.0.1:1")}, haproxy.Ready, false},
		"Consul has no result":    {[]Node{node("10.0.0.1:1", health(Unchecked))}, haproxy.Ready, false},
		"Consul says critical":    {[]Node{node("10.0.0.1:1", health(Critical))}, haproxy.Ready, true},
		"it is in maintenance":    {[]Node{node("10.0.0.1:1", health(Maintenance))}, haproxy.Ready, true},
		"it is gone":              {nil, haproxy.Ready, true},
		"the slot does not serve": {[]Node{node("10.0.0.1:1")}, haproxy.Maint, true},
	} {
		s, ours := NewSlot(haproxy.Server{
			ID: checkedSlot(t, 1, Readmitted, 0).Slot, Addr: netip.MustParseAddrPort("10.0.0.1:1"), State: test.state, Up: true, Weight: 1, CheckDisabled: true,
		})
		require.True(t, ours)
		s.Readmitted = true
		plan := Make(test.nodes, Backend{Name: "iri_back", Slots: []Slot{s}})
		assert.Equal(t, test.want, slices.Contains(lines(plan.Commands()), "enable health iri_back/http1"), name)
	}
}
