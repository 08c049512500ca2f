package registry

import (
	"bytes"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/nodecheck"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
)

func inCatalog(meta map[string]string, tags ...string) *api.ServiceEntry {
	e := entry("10.0.0.1", 14265, tags...)
	e.Node.Node, e.Service.Meta = CatalogNode, meta
	return e
}

func TestANodeOfTheCatalogSaysHowItIsChecked(t *testing.T) {
	for name, test := range map[string]struct {
		meta     map[string]string
		options  string
		interval time.Duration
		problem  string
	}{
		"nothing": {interval: 30 * time.Second},
		"options and interval": {
			meta:    map[string]string{"iri-check": "pow=true&min-version=1.8.6", "iri-check-interval": "5s"},
			options: "pow=true&min-version=1.8.6", interval: 5 * time.Second,
		},
		"bad options": {
			meta: map[string]string{"iri-check": "pwo=true"}, interval: 30 * time.Second,
			problem: `check options (Meta iri-check): unknown key "pwo"`,
		},
		"a bad interval": {
			meta: map[string]string{"iri-check-interval": "soon"}, interval: 30 * time.Second,
			problem: `check interval (Meta iri-check-interval): "soon" is not a time from 1s to 1h; 30s holds`,
		},
		"an interval that is too short": {
			meta: map[string]string{"iri-check-interval": "100ms"}, interval: 30 * time.Second, problem: "is not a time from 1s to 1h",
		},
		"an interval that is too long": {
			meta: map[string]string{"iri-check-interval": "61m"}, interval: 30 * time.Second, problem: "is not a time from 1s to 1h",
		},
	} {
		t.Run(name, func(t *testing.T) {
			n, problems, ok := newParser([]string{"default", "pow"}, 0).parse(inCatalog(test.meta))
			require.True(t, ok)
			require.NotNil(t, n.Check)
			assert.Equal(t, test.options, n.Check.Options)
			assert.Equal(t, test.interval, n.Check.Interval)
			assert.Equal(t, InCatalog, n.Registered())
			if test.problem == "" {
				assert.Empty(t, problems)
				return
			}
			require.Len(t, problems, 1)
			assert.Contains(t, problems[0].Field+": "+problems[0].Reason, test.problem)
		})
	}
	n, _, _ := newParser([]string{"default"}, 0).parse(entry("10.0.0.1", 14265))
	assert.Nil(t, n.Check, "a node at an agent is checked there")
	assert.Equal(t, "host1", n.Registered())
}

func TestANodeOfTheCatalogIsCheckedAsHAProxyTalksToIt(t *testing.T) {
	for name, test := range map[string]struct {
		host, options string
		tags          []string
		want          nodecheck.Request
	}{
		"http":             {want: nodecheck.Request{Address: "http://10.0.0.1:14265"}},
		"https":            {tags: []string{"haproxy.scheme=https"}, want: nodecheck.Request{Address: "https://10.0.0.1:14265"}},
		"https, by a name": {host: "n.example", tags: []string{"haproxy.scheme=https"}, want: nodecheck.Request{Address: "https://10.0.0.1:14265", ServerName: "n.example"}},
		"https, any certificate": {
			tags: []string{"haproxy.scheme=https", "haproxy.sslverify=0"}, want: nodecheck.Request{Address: "https://10.0.0.1:14265", SkipVerify: true},
		},
		"another name than its own": {
			host: "n.example", options: "server-name=other.example", tags: []string{"haproxy.scheme=https"},
			want: nodecheck.Request{Address: "https://10.0.0.1:14265", ServerName: "other.example"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := inCatalog(map[string]string{"iri-check": test.options}, test.tags...)
			if test.host != "" {
				e.Service.Address = test.host
			}
			n, problems, ok := newParser([]string{"default"}, 0).parse(e)
			require.True(t, ok)
			require.Empty(t, problems)
			n.Addr = numbered("10.0.0.1:14265").Addr // as the resolver does
			got, err := n.Request()
			require.NoError(t, err)
			test.want.Limits = nodecheck.Defaults()
			assert.Equal(t, test.want, got)
		})
	}
}

func TestTheVerdictDecidesTheShare(t *testing.T) {
	e := inCatalog(nil)
	e.Service.Weights = api.AgentWeights{Passing: 10, Warning: 3}
	n, _, _ := newParser([]string{"default"}, 0).parse(e)
	n.Judge(pool.Warning)
	assert.Equal(t, pool.Warning, n.Health)
	assert.Equal(t, Share{3, false}, Share{n.Weight, n.Reduced}, "Consul's weight for warnings")

	n, _, _ = newParser([]string{"default"}, 0).parse(inCatalog(nil, "haproxy.weight=8"))
	for verdict, want := range map[pool.Health]Share{pool.Passing: {8, false}, pool.Warning: {8, true}, pool.Critical: {8, false}} {
		judged := n
		judged.Judge(verdict)
		assert.Equal(t, want, Share{judged.Weight, judged.Reduced}, verdict)
	}
	n.Health = pool.Maintenance
	n.Judge(pool.Passing)
	assert.Equal(t, pool.Maintenance, n.Health, "what Consul says counts, too")
}

func TestWhatIsWrongIsSaidBeforeANodeIsRegistered(t *testing.T) {
	opts := Options{Pools: []string{"default", "pow"}, OwnPort: 14267}
	for name, test := range map[string]struct {
		change func(s *api.AgentService)
		want   string
	}{
		"a good one":         {func(*api.AgentService) {}, ""},
		"an unknown tag":     {func(s *api.AgentService) { s.Tags = []string{"haproxy.wight=2"} }, "tag haproxy.wight=2: unknown key (known: pow, "},
		"a bad value":        {func(s *api.AgentService) { s.Tags = []string{"haproxy.weight=300"} }, "tag haproxy.weight=300: the value is not a whole number from 0 to 256"},
		"a bad address":      {func(s *api.AgentService) { s.Address = "10.0.0" }, `address: "10.0.0" is neither an IP address nor a host name`},
		"no address":         {func(s *api.AgentService) { s.Address = "" }, "address"},
		"this host itself":   {func(s *api.AgentService) { s.Address, s.Port = "127.0.0.1", 14267 }, "this load balancer itself"},
		"bad options":        {func(s *api.AgentService) { s.Meta = map[string]string{"iri-check": "pow=yes"} }, `pow="yes" is neither true nor false`},
		"a bad interval":     {func(s *api.AgentService) { s.Meta = map[string]string{"iri-check-interval": "5"} }, `"5" is not a time from 1s to 1h`},
		"an ID of 101 bytes": {func(s *api.AgentService) { s.ID = strings.Repeat("x", 101) }, "id: longer than 100 bytes"},
		"an ID of two lines": {func(s *api.AgentService) { s.ID = "a\nb" }, "id: longer than 100 bytes, or not printable"},
	} {
		t.Run(name, func(t *testing.T) {
			s := entry("10.0.0.1", 14265).Service
			test.change(s)
			err := opts.Validate(s)
			if test.want == "" {
				assert.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.want)
			assert.NotContains(t, err.Error(), "ignored", "nothing was registered")
		})
	}
}

// catalogService is a service of the catalog as Consul's HTTP API has it.
func catalogService(id string) string {
	return strings.ReplaceAll(service(id, "passing"), `"Node":{"Node":"`, `"Node":{"Node":"iri-nodes","Was":"`)
}

func TestThisHostsVerdictJudgesTheCatalogAndNothingElse(t *testing.T) {
	c := newConsul(t, nodesAt(5, catalogService("a"), service("b", "passing")))
	w := NewWatcher(c.client(t, "secret"), nil, hclog.NewNullLogger(), clockwork.NewFakeClock(), &reporter{})
	snap, err := w.Once(t.Context())
	require.NoError(t, err)
	require.NotNil(t, snap.Nodes[0].Check)
	assert.Equal(t, pool.Passing, snap.Nodes[0].Health, "nobody checks it: HAProxy's own checks decide")
	for _, verdict := range []pool.Health{pool.Critical, pool.Unchecked} {
		w.Use(Local{Judge: judgeAll(verdict)})
		snap, err = w.Once(t.Context())
		require.NoError(t, err)
		assert.Equal(t, verdict, snap.Nodes[0].Health, "also unchecked: it is not overdue like a check of Consul's")
		assert.Equal(t, pool.Passing, snap.Nodes[1].Health)
	}
}

func judgeAll(verdict pool.Health) func([]Node) {
	return func(nodes []Node) {
		for i := range nodes {
			if nodes[i].Check != nil {
				nodes[i].Judge(verdict)
			}
		}
	}
}

// saved is a list on the disk: a and b at an agent, c in the catalog.
func saved(index uint64) func() (Snapshot, bool) {
	return func() (Snapshot, bool) {
		nodes := []Node{numbered("10.0.0.1:14265"), numbered("10.0.0.2:14265"), numbered("10.0.0.3:14265")}
		nodes[1].Health, nodes[2].Health = pool.Critical, pool.Critical
		nodes[2].Check = &Check{Interval: time.Minute}
		return Snapshot{Index: index, Nodes: nodes, Complete: true, FromDisk: true}, true
	}
}

// watchSaved is watch with a list on the disk.
func watchSaved(t *testing.T, local Local, steps ...func(http.ResponseWriter, *http.Request)) *watched {
	t.Helper()
	return watchWith(t, nil, func(w *Watcher) { w.Use(local) }, steps...)
}

func TestTheListOnTheDiskIsUsedUntilConsulAnswers(t *testing.T) {
	w := watchSaved(t, Local{Saved: saved(5), Judge: judgeAll(pool.Warning)}, failure, failure, nodesAt(7, service("a", "passing")))
	w.untilHeld(t)
	all := w.all()
	require.Len(t, all, 2, "the list once, then Consul's answer")
	assert.True(t, all[0].FromDisk)
	var got []pool.Health
	for _, n := range all[0].Nodes {
		got = append(got, n.Health)
	}
	assert.Equal(t, []pool.Health{pool.Passing, pool.Unchecked, pool.Warning}, got,
		"what the list has against a node is old; what this host finds counts")
	assert.False(t, all[1].FromDisk)
	assert.Len(t, all[1].Nodes, 1)
	assert.Zero(t, all[1].Epoch, "Consul has lost nothing: what is missing was deregistered")
	assert.Contains(t, w.log.String(), "the nodes are those of the last list on the disk")
}

func TestAConsulBehindTheListOnTheDiskHasLostData(t *testing.T) {
	w := watchSaved(t, Local{Saved: saved(50)}, failure, nodesAt(7), nodesAt(7))
	w.untilHeld(t)
	all := w.all()
	require.NotEmpty(t, all)
	assert.Equal(t, 1, all[len(all)-1].Epoch)
	assert.Contains(t, w.log.String(), "it may have lost data")
}

func TestTheListOnTheDiskIsUsedWhileTheFirstAnswerTakesLong(t *testing.T) {
	release := make(chan struct{})
	w := watchSaved(t, Local{Saved: saved(5)}, func(rw http.ResponseWriter, _ *http.Request) {
		<-release
		list(rw, 7, service("a", "passing"))
	})
	require.NoError(t, w.clock.BlockUntilContext(t.Context(), 3))
	w.clock.Advance(firstAnswer)
	assert.True(t, (<-w.published).FromDisk)
	close(release)
	assert.False(t, (<-w.published).FromDisk)
}

func TestTheListOnTheDiskIsNotUsedOnceConsulHasAnswered(t *testing.T) {
	w := watchSaved(t, Local{Saved: saved(5)}, nodesAt(7), failure, nodesAt(8))
	assert.False(t, (<-w.published).FromDisk)
	w.untilHeld(t)
	for _, snap := range w.all() {
		assert.False(t, snap.FromDisk)
	}
}

func TestNothingIsPublishedAgainBeforeThereIsAnything(t *testing.T) {
	c := newConsul(t, nodesAt(5))
	w := NewWatcher(c.client(t, "secret"), nil, hclog.New(&hclog.LoggerOptions{Output: &bytes.Buffer{}, Mutex: &sync.Mutex{}}), clockwork.NewFakeClock(), &reporter{})
	w.Subscribe(func(s Snapshot) { t.Errorf("published: %+v", s) })
	w.Republish()
}

func TestANewVerdictOnANodeOfTheListOnTheDiskIsPublished(t *testing.T) {
	verdict := pool.Critical
	c := newConsul(t, failure)
	w := NewWatcher(c.client(t, "secret"), nil, hclog.NewNullLogger(), clockwork.NewFakeClock(), &reporter{})
	w.Use(Local{Saved: saved(5), Judge: func(nodes []Node) { judgeAll(verdict)(nodes) }})
	var got []pool.Health
	w.Subscribe(func(s Snapshot) { got = append(got, s.Nodes[2].Health) })
	w.publishSaved()
	verdict = pool.Passing
	w.Republish()
	assert.Equal(t, []pool.Health{pool.Critical, pool.Passing}, got)
	snap, ok := w.Saved()
	require.True(t, ok)
	assert.Equal(t, pool.Passing, snap.Nodes[2].Health)
}
