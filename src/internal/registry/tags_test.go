package registry

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
)

func TestTags(t *testing.T) {
	for name, test := range map[string]struct {
		tags     []string
		meta     map[string]string
		want     Node
		problems int
	}{
		"none": {
			want: Node{Pools: []string{"default"}, Node: pool.Node{Weight: 1}},
		},
		"PoW in both pools": {
			tags: []string{"haproxy.pow=true"},
			want: Node{Pools: []string{"default", "pow"}, Node: pool.Node{Weight: 1}},
		},
		"PoW only": {
			tags: []string{"haproxy.pow=only"},
			want: Node{Pools: []string{"pow"}, Node: pool.Node{Weight: 1}},
		},
		"https is verified unless it is said otherwise": {
			tags: []string{"haproxy.scheme=https"},
			want: Node{Pools: []string{"default"}, Node: pool.Node{Weight: 1, TLS: pool.Verified}},
		},
		"https without verification": {
			tags: []string{"haproxy.scheme=https", "haproxy.sslverify=0"},
			want: Node{Pools: []string{"default"}, Node: pool.Node{Weight: 1, TLS: pool.Unverified}},
		},
		"sslverify means nothing for http": {
			tags: []string{"haproxy.sslverify=false"},
			want: Node{Pools: []string{"default"}, Node: pool.Node{Weight: 1}},
		},
		"weight and maxconn at their bounds": {
			tags: []string{"haproxy.weight=256", "haproxy.maxconn=0"},
			want: Node{Pools: []string{"default"}, MaxConnSet: true, Node: pool.Node{Weight: 256}},
		},
		"a limit for proof of work alone": {
			tags: []string{"haproxy.maxconnpow=0", "haproxy.pow=true"},
			want: Node{Pools: []string{"default", "pow"}, MaxConnPoWSet: true, Node: pool.Node{Weight: 1}},
		},
		"two limits": {
			tags: []string{"haproxy.maxconnpow=2"}, meta: map[string]string{"haproxy-maxconn": "50", "haproxy-maxconnpow": "3"},
			want: Node{Pools: []string{"default"}, MaxConnSet: true, MaxConnPoWSet: true, MaxConnPoW: 2, Node: pool.Node{Weight: 1, MaxConn: 50}},
		},
		"Meta": {
			meta: map[string]string{"haproxy-pow": "true", "haproxy-weight": "9", "other": "x"},
			want: Node{Pools: []string{"default", "pow"}, Node: pool.Node{Weight: 9}},
		},
		"tags win over Meta": {
			tags: []string{"haproxy.weight=3"}, meta: map[string]string{"haproxy-weight": "9"},
			want: Node{Pools: []string{"default"}, Node: pool.Node{Weight: 3}},
		},
		"tags of others are not ours": {
			tags: []string{"primary", "traefik.enable=true", "haproxy"},
			want: Node{Pools: []string{"default"}, Node: pool.Node{Weight: 1}},
		},
		"bad values leave the default and a problem each": {
			tags: []string{
				"haproxy.pow=yes", "haproxy.scheme=ftp", "haproxy.sslverify=2", "haproxy.weight=257", "haproxy.weight=-1",
				"haproxy.weight=", "haproxy.weight=+5", "haproxy.maxconn=1e3", "haproxy.maxconn=4294967296", "haproxy.color=red", "haproxy.weight", "haproxy.maxconnpow=-1",
			},
			want:     Node{Pools: []string{"default"}, Node: pool.Node{Weight: 1}},
			problems: 12,
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := entry("10.0.0.1", 14265, test.tags...)
			e.Service.Meta = test.meta
			got, problems, ok := newParser([]string{"default", "pow"}, 14267).parse(e)
			require.True(t, ok)
			test.want.ID = "10.0.0.1:14265"
			test.want.Addr = netip.MustParseAddrPort("10.0.0.1:14265")
			test.want.Agent = "host1"
			assert.Equal(t, test.want, got)
			assert.Len(t, problems, test.problems)
		})
	}
}

func TestTagsOfPools(t *testing.T) {
	for name, test := range map[string]struct {
		tags    []string
		want    []string
		problem string
	}{
		"by name":              {tags: []string{"haproxy.pools=archive"}, want: []string{"archive"}},
		"several":              {tags: []string{"haproxy.pools=default,archive,default"}, want: []string{"archive", "default"}},
		"pools wins over pow":  {tags: []string{"haproxy.pools=archive", "haproxy.pow=false"}, want: []string{"archive"}},
		"one of them unknown":  {tags: []string{"haproxy.pools=archive,fast"}, want: []string{"archive"}, problem: `unknown pool "fast" (known, separated by commas without spaces: default, archive); the node is in: archive`},
		"all unknown":          {tags: []string{"haproxy.pools=fast"}, want: []string{"default"}, problem: `unknown pool "fast"`},
		"an empty list":        {tags: []string{"haproxy.pools="}, want: []string{"default"}, problem: `unknown pool ""`},
		"no pool for pow":      {tags: []string{"haproxy.pow=true"}, want: []string{"default"}, problem: "there is no pool pow; it is ignored"},
		"pow=false needs none": {tags: []string{"haproxy.pow=false"}, want: []string{"default"}},
	} {
		t.Run(name, func(t *testing.T) {
			node, problems, ok := newParser([]string{"default", "archive"}, 14267).parse(entry("10.0.0.1", 14265, test.tags...))
			require.True(t, ok)
			assert.Equal(t, test.want, node.Pools)
			if test.problem == "" {
				assert.Empty(t, problems)
				return
			}
			require.Len(t, problems, 1)
			assert.Contains(t, problems[0].Reason, test.problem)
		})
	}
}

func TestAnUnknownKeyNamesTheKnownOnes(t *testing.T) {
	_, problems, ok := newParser([]string{"default", "pow"}, 14267).parse(entry("10.0.0.1", 14265, "haproxy.color=red"))
	require.True(t, ok)
	require.Len(t, problems, 1)
	assert.Equal(t, Problem{
		Service: "10.0.0.1:14265", Node: "host1", Field: "tag haproxy.color=red",
		Reason: "unknown key (known: pow, pools, scheme, sslverify, weight, maxconn, maxconnpow); it is ignored",
		Wrong:  "unknown key (known: pow, pools, scheme, sslverify, weight, maxconn, maxconnpow)",
	}, problems[0])
}

func TestValuesThatContradictOrDoNotFitAreReported(t *testing.T) {
	p := newParser([]string{"default", "pow"}, 14267)
	node, problems, _ := p.parse(entry("10.0.0.1", 14265, "haproxy.weight=3", "haproxy.weight=3", "haproxy.weight=5"))
	assert.Equal(t, 5, node.Weight)
	require.Len(t, problems, 1)
	assert.Equal(t, "tag haproxy.weight=5", problems[0].Field)
	assert.Equal(t, "it contradicts tag haproxy.weight=3; the last one counts", problems[0].Reason)

	e := entry("10.0.0.1", 14265)
	e.Service.Weights.Passing = 1000
	node, problems, _ = p.parse(e)
	assert.Equal(t, 256, node.Weight)
	require.Len(t, problems, 1)
	assert.Equal(t, "1000 is not between 0 and 256; 256 is used", problems[0].Reason)
}

func TestALoadBalancerIsNoNodeOfItsOwn(t *testing.T) {
	for own, want := range map[uint16]string{14267: "is this load balancer itself", 0: "", 80: ""} {
		_, problems, ok := newParser([]string{"default"}, own).parse(entry("127.0.0.1", 14267))
		assert.Equal(t, want == "", ok)
		if want != "" {
			assert.Contains(t, problems[0].Reason, want)
		}
	}
	_, problems, ok := newParser([]string{"default"}, 0).parse(entry("255.255.255.255", 14265))
	assert.False(t, ok)
	assert.Contains(t, problems[0].Reason, "is not the address of a single host")
}
