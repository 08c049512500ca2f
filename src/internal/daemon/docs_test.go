package daemon

import (
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/cluster"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/connstatus"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/mirror"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/nodelist"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

// rows are the cells of a page's table rows whose first cell is code that starts with prefix.
func rows(t *testing.T, page, prefix string) [][]string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/" + page)
	require.NoError(t, err)
	var all [][]string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| `"+prefix) {
			continue
		}
		var cells []string
		for cell := range strings.SplitSeq(strings.Trim(strings.TrimSpace(line), "|"), " |") {
			cells = append(cells, strings.TrimSpace(cell))
		}
		all = append(all, cells)
	}
	return all
}

func TestEveryMetricIsDocumentedAsItIs(t *testing.T) {
	clock := clockwork.NewFakeClock()
	m := newMetrics()
	o := m.observer(mirror.Options{Socket: "s", Pools: []mirror.Pool{{Name: "p"}}}, connstatus.New("HAProxy", hclog.NewNullLogger(), clock), clock,
		nodelist.New("", "iri", hclog.NewNullLogger(), clock), cluster.NewPublisher(nil, nil, hclog.NewNullLogger(), clock))
	o.Received(registry.Snapshot{})
	o.Executed("p", nil)
	o.Reconciled(time.Second, nil)
	o.Converged(time.Second)
	o.InLine("p", nil, []pool.Slot{{}}, pool.Plan{})
	o.Checked("p", mirror.PoolChecks{Retries: map[netip.AddrPort]int{{}: 1}})
	o.Ejected("p", netip.AddrPort{}, "L4CON")
	families, err := m.registry.Gather()
	require.NoError(t, err)
	var want []string
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), namespace) {
			continue // Go's and the process's own
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		slices.Sort(labels)
		want = append(want, fmt.Sprint("`", f.GetName(), "` ", strings.ToLower(f.GetType().String()), " ", strings.Join(labels, ", "), " ", f.GetHelp()))
	}
	var got []string
	for _, cells := range rows(t, "metrics.md", namespace+"_") {
		if len(cells) != 4 {
			continue // the table of alerts
		}
		labels := strings.Split(cells[2], ", ")
		slices.Sort(labels)
		got = append(got, fmt.Sprint(cells[0], " ", cells[1], " ", strings.Join(labels, ", "), " ", cells[3]))
	}
	assert.ElementsMatch(t, want, got, "docs/metrics.md must say of each metric what the code says")
}

// keys lists the configuration's keys as docs/configuration.md writes them, each with its default.
func keys(prefix string, v reflect.Value, to map[string]string) {
	for i := range v.NumField() {
		key := prefix + v.Type().Field(i).Tag.Get("yaml")
		switch f := v.Field(i); {
		case f.Kind() == reflect.Struct:
			keys(key+".", f, to)
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct:
			to[key] = "a list"
			keys(key+"[].", reflect.New(f.Type().Elem()).Elem(), to)
		default:
			to[key] = fmt.Sprint(f.Interface())
		}
	}
}

func TestEveryKeyOfTheConfigurationIsDocumentedWithItsDefault(t *testing.T) {
	want := map[string]string{}
	keys("", reflect.ValueOf(DefaultConfig()), want)
	got := map[string]string{}
	for _, cells := range rows(t, "configuration.md", "") {
		key, value := strings.Trim(cells[0], "`"), strings.Trim(cells[1], "`\"")
		if _, known := want[key]; !known {
			assert.Fail(t, "docs/configuration.md has a key that the code does not have", key)
		}
		if d, err := time.ParseDuration(value); err == nil && strings.HasSuffix(value, "s") {
			value = d.String()
		}
		switch {
		case want[key] == "a list":
			value = "a list"
		case value == "required":
			value = ""
		}
		got[key] = value
	}
	assert.Equal(t, want, got)
}
