package daemon

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/cluster"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/connstatus"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/mirror"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/nodelist"
)

func TestANodesSeriesEndWithItsRegistration(t *testing.T) {
	clock := clockwork.NewFakeClock()
	m := newMetrics()
	o := m.observer(mirror.Options{Socket: "s", Pools: []mirror.Pool{{Name: "default"}, {Name: "pow"}}}, connstatus.New("HAProxy", hclog.NewNullLogger(), clock),
		clock, nodelist.New("", "iri", hclog.NewNullLogger(), clock), cluster.NewPublisher(nil, nil, hclog.NewNullLogger(), clock))
	a, b := netip.MustParseAddrPort("10.0.0.1:14265"), netip.MustParseAddrPort("10.0.0.2:14265")
	o.Checked("default", mirror.PoolChecks{Retries: map[netip.AddrPort]int{a: 3, b: 0}, Ejected: 1, Readmitted: 2})
	o.Checked("pow", mirror.PoolChecks{Retries: map[netip.AddrPort]int{a: 1}})
	o.Checked("default", mirror.PoolChecks{Retries: map[netip.AddrPort]int{a: 4, b: 0}, Ejected: 1, Readmitted: 2})
	o.Ejected("default", a, "L7STS")
	o.Ejected("default", a, "L9NEW")
	o.Ejected("default", a, "L9NEWER")
	o.Ejected("pow", a, "L4CON")
	assert.Equal(t, map[string]float64{
		"node_retries_total default 10.0.0.1:14265": 7, "node_retries_total default 10.0.0.2:14265": 0, "node_retries_total pow 10.0.0.1:14265": 1,
		"node_ejections_total default 10.0.0.1:14265 L7STS": 1, "node_ejections_total default 10.0.0.1:14265 other": 2,
		"node_ejections_total pow 10.0.0.1:14265 L4CON": 1,
		"nodes_ejected default":                         1, "nodes_readmitted default": 2, "nodes_ejected pow": 0, "nodes_readmitted pow": 0,
	}, series(t, m))
	o.Checked("default", mirror.PoolChecks{Retries: map[netip.AddrPort]int{b: 0}})
	assert.Equal(t, map[string]float64{
		"node_retries_total default 10.0.0.2:14265": 0, "node_retries_total pow 10.0.0.1:14265": 1,
		"node_ejections_total pow 10.0.0.1:14265 L4CON": 1,
		"nodes_ejected default":                         0, "nodes_readmitted default": 0, "nodes_ejected pow": 0, "nodes_readmitted pow": 0,
	}, series(t, m))
}

// series are those of the ejections, by name and labels without the socket.
func series(t *testing.T, m *metrics) map[string]float64 {
	t.Helper()
	families, err := m.registry.Gather()
	require.NoError(t, err)
	all := map[string]float64{}
	for _, f := range families {
		name := strings.TrimPrefix(f.GetName(), namespace+"_")
		if !slices.Contains([]string{"node_retries_total", "node_ejections_total", "nodes_ejected", "nodes_readmitted"}, name) {
			continue
		}
		for _, one := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range one.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			key := strings.Join(strings.Fields(strings.Join([]string{name, labels["pool"], labels["node"], labels["reason"]}, " ")), " ")
			all[key] = one.GetCounter().GetValue() + one.GetGauge().GetValue()
		}
	}
	return all
}
