package mirror

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy/haproxytest"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/status"
)

func TestAPlanPrintsTheCommandsAndChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.set(nodes(1, 2)...)
	w.settle()
	w.haproxy.Changes()
	told := *w.observer
	var out strings.Builder
	changes, err := w.Plan(t.Context(), registry.Snapshot{Nodes: nodes(1, 2), Complete: true}, &out)
	require.NoError(t, err)
	assert.False(t, changes)
	assert.Equal(t, w.opts.Socket+": nothing to change\n", out.String())

	out.Reset()
	changes, err = w.Plan(t.Context(), registry.Snapshot{Nodes: nodes(1, 9), Complete: true}, &out)
	require.NoError(t, err)
	assert.True(t, changes)
	assert.Equal(t, 6, strings.Count(out.String(), "state ready"))
	assert.Contains(t, out.String(), "pool default: node 10.0.0.")
	assert.Contains(t, out.String(), "waits for a slot")
	assert.Empty(t, w.haproxy.Changes())
	assert.Equal(t, told, *w.observer)
}

func TestAPlanAsksForConfirmationAndRemembersNothing(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"confirmed":    {nil, "state drain"},
		"not answered": {errNoAnswer, "most nodes would leave, and are kept: Consul does not confirm it: no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := serving(t)
			guardBefore, told := w.guard, *w.observer
			w.source.confirmErr = test.err
			w.source.second = registry.Snapshot{Nodes: nodes(1, 1), Complete: true, Seen: w.clock.Now()}
			var out strings.Builder
			_, err := w.Plan(t.Context(), w.source.second, &out)
			require.NoError(t, err)
			assert.Contains(t, out.String(), test.want)
			assert.Equal(t, guardBefore, w.guard)
			assert.Equal(t, told, *w.observer)
			assert.Empty(t, w.status.Details())
		})
	}
}

func TestAPlanWithoutHAProxyNamesTheSocket(t *testing.T) {
	w := newWorld(t)
	w.haproxy.Stop()
	_, err := w.Plan(t.Context(), registry.Snapshot{}, &strings.Builder{})
	assert.EqualError(t, err, w.opts.Socket+": "+haproxytest.ErrAway.Error())
}

func TestStatusPairsNodesWithTheirSlots(t *testing.T) {
	w := newWorld(t)
	w.set(node("10.0.0.1", weight(3)), node("10.0.0.2"), node("10.0.0.3"), node("10.0.0.9"))
	w.settle()
	serving := w.haproxy.Serving("iri_back")
	serving[node("10.0.0.2").Addr].Up = false
	serving[node("10.0.0.3").Addr].State = haproxy.Drain
	guardBefore := w.guard
	snap := registry.Snapshot{Nodes: []registry.Node{
		node("10.0.0.1", weight(3)), node("10.0.0.2"), node("10.0.0.3", health(pool.Maintenance)), node("10.0.0.4", health(pool.Critical)),
	}}
	snap.Nodes[0].Agent, snap.Nodes[1].Check = "host1", &registry.Check{}
	st, err := w.Status(t.Context(), snap, true)
	require.NoError(t, err)
	assert.Equal(t, "3.0.11", st.Version)
	require.Len(t, st.Pools, 2)
	assert.Equal(t, []int{16, 12}, []int{st.Pools[0].Slots, st.Pools[0].Free})
	type row struct{ id, address, consul, haproxy string }
	var rows []row
	for _, n := range st.Pools[0].Nodes {
		rows = append(rows, row{n.ID, n.Address, n.Consul, n.HAProxy})
	}
	assert.Equal(t, []row{
		{"", "10.0.0.9:14265", "not registered", "ready"},
		{"10.0.0.1:14265", "10.0.0.1:14265", "passing", "ready"},
		{"10.0.0.2:14265", "10.0.0.2:14265", "passing", "down"},
		{"10.0.0.3:14265", "10.0.0.3:14265", "maintenance", "drain"},
		{"10.0.0.4:14265", "10.0.0.4:14265", "critical", "no slot"},
	}, rows)
	assert.Equal(t, 3, st.Pools[0].Nodes[1].Weight)
	assert.Equal(t, []string{"", "host1", "catalog"},
		[]string{st.Pools[0].Nodes[0].Registered, st.Pools[0].Nodes[1].Registered, st.Pools[0].Nodes[2].Registered})
	assert.Equal(t, guardBefore, w.guard)

	st, err = w.Status(t.Context(), registry.Snapshot{}, false)
	require.NoError(t, err)
	assert.Equal(t, "unknown", st.Pools[0].Nodes[0].Consul)
}

func TestStatusWithoutHAProxySaysSo(t *testing.T) {
	w := newWorld(t)
	w.haproxy.Stop()
	st, err := w.Status(t.Context(), registry.Snapshot{}, true)
	require.Error(t, err)
	assert.Equal(t, status.HAProxy{Socket: w.opts.Socket, Pools: []status.Pool{}, Error: haproxytest.ErrAway.Error()}, st)
}

func TestAllIDsOfAnAddressShowItsSlot(t *testing.T) {
	w := newWorld(t)
	second := node("10.0.0.1", func(n *registry.Node) { n.ID = "another name" })
	w.set(node("10.0.0.1"), second)
	w.settle()
	st, err := w.Status(t.Context(), w.snapshot, true)
	require.NoError(t, err)
	list := st.Pools[0].Nodes
	require.Len(t, list, 2)
	assert.Equal(t, "another name", list[1].ID)
	assert.NotEmpty(t, list[0].Slot)
	assert.Equal(t, list[0].Slot, list[1].Slot)
}

func TestAPlanShowsWhatIsHeld(t *testing.T) {
	w := newWorld(t, checked)
	w.set(nodes(1, 1)...)
	w.settle()
	w.set(nodes(2, 2)...)
	w.settle()
	var out strings.Builder
	changes, err := w.Plan(t.Context(), w.snapshot, &out)
	require.NoError(t, err)
	assert.True(t, changes)
	assert.Contains(t, out.String(), "should leave, and stays until what replaces it is up in HAProxy")
}

func TestTheSlotsAreReadOverAConnectionOfTheirOwn(t *testing.T) {
	w := newWorld(t)
	w.set(nodes(1, 2)...)
	w.settle()
	snap := registry.Snapshot{Nodes: nodes(1, 3), Complete: true}
	full, err := w.Status(t.Context(), snap, true)
	require.NoError(t, err)
	w.settle()
	_ = w.haproxy.Changes()
	brief, err := Slots(t.Context(), w.opts, w.session.dial, snap)
	require.NoError(t, err)
	assert.Equal(t, full.Reported(), brief.Reported())
	assert.NotNil(t, w.session.conn, "that of the mirror is left alone")
	assert.Empty(t, w.haproxy.Changes())

	w.haproxy.Stop()
	brief, err = Slots(t.Context(), w.opts, w.session.dial, snap)
	require.ErrorIs(t, err, haproxytest.ErrAway)
	assert.Equal(t, haproxytest.ErrAway.Error(), brief.Error)
}

func TestStatusSaysWhyANodeIsEjected(t *testing.T) {
	w := checkedWorld(t, 3)
	w.eject("10.0.0.1", behind)
	w.poll()
	w.eject("10.0.0.2", behind)
	w.poll() // one too many
	snap := registry.Snapshot{Nodes: nodes(1, 4)}
	w.set(snap.Nodes...)
	w.settle() // the fourth waits for its first check
	st, err := w.Status(t.Context(), snap, true)
	require.NoError(t, err)
	var got [][2]string
	for _, n := range st.Pools[0].Nodes {
		got = append(got, [2]string{n.HAProxy, n.Reason})
	}
	assert.Equal(t, [][2]string{
		{"ejected", "Layer7 invalid response: behind by 10 milestones"},
		{"ready", "without HAProxy's check, which would have ejected too many"},
		{"ready", ""},
		{"down", ""},
	}, got)
}
