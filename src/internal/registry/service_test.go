package registry

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
)

func entry(address string, port int, tags ...string) *api.ServiceEntry {
	return &api.ServiceEntry{
		Node: &api.Node{Node: "host1", Address: "10.0.0.99"},
		Service: &api.AgentService{
			ID: "10.0.0.1:14265", Address: address, Port: port, Tags: tags,
			Weights: api.AgentWeights{Passing: 1, Warning: 1},
		},
	}
}

func TestAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"10.0.0.1":        "10.0.0.1:14265",
		"2001:db8::1":     "[2001:db8::1]:14265",
		"::ffff:10.0.0.1": "10.0.0.1:14265",
		"":                "10.0.0.99:14265", // the Consul node's
		"0.0.0.0":         "",
		"::":              "",
		"224.0.0.1":       "",
		"fe80::1%eth0":    "",
		"10.0.0":          "",
		"-x.example":      "",
		"x..example":      "",
		"x_y.example":     "",
		"a b":             "",
		"10.0.0.1 ":       "",
		"10.0.0.1;quit":   "",
	} {
		got, problems, ok := newParser([]string{"default", "pow"}, 14267).parse(entry(address, 14265))
		if want == "" {
			assert.False(t, ok, address)
			require.Len(t, problems, 1)
			assert.Contains(t, problems[0].Reason, "skipped")
			continue
		}
		require.True(t, ok, address)
		assert.Equal(t, want, got.Addr.String())
	}
	got, _, ok := newParser([]string{"default", "pow"}, 14267).parse(entry("10.0.0.1", 0))
	require.True(t, ok)
	assert.Equal(t, "10.0.0.1:14265", got.Addr.String(), "IRI's own port")
	for _, port := range []int{-1, 65536, 70000} {
		_, _, ok := newParser([]string{"default", "pow"}, 14267).parse(entry("10.0.0.1", port))
		assert.False(t, ok, "%d", port)
	}
	_, _, ok = newParser([]string{"default", "pow"}, 14267).parse(entry("127.0.0.1", 1))
	assert.False(t, ok, "the placeholder")
}

func TestHealth(t *testing.T) {
	script := func(status, output string) *api.HealthCheck {
		return &api.HealthCheck{CheckID: "service:x", Type: "script", Status: status, Output: output}
	}
	for name, test := range map[string]struct {
		checks api.HealthChecks
		want   pool.Health
	}{
		"no checks":                   {nil, pool.Passing},
		"passing":                     {api.HealthChecks{script("passing", "OK")}, pool.Passing},
		"warning":                     {api.HealthChecks{script("passing", "OK"), script("warning", "slow")}, pool.Warning},
		"critical":                    {api.HealthChecks{script("passing", "OK"), script("critical", "down")}, pool.Critical},
		"not run yet":                 {api.HealthChecks{script("passing", "OK"), script("critical", "")}, pool.Unchecked},
		"one not run, one has failed": {api.HealthChecks{script("critical", ""), script("critical", "down")}, pool.Critical},
		"a TTL check set to critical without words": {
			api.HealthChecks{{CheckID: "service:x", Type: "ttl", Status: "critical"}}, pool.Critical,
		},
		"the service is in maintenance": {
			api.HealthChecks{script("passing", "OK"), {CheckID: "_service_maintenance:x", Status: "critical", Output: "by hand"}}, pool.Maintenance,
		},
		"the Consul node is in maintenance": {
			api.HealthChecks{script("critical", "down"), {CheckID: "_node_maintenance", Status: "critical", Output: "by hand"}}, pool.Maintenance,
		},
		"the agent has died": {
			api.HealthChecks{script("passing", "OK"), {CheckID: "serfHealth", Status: "critical", Output: "Agent not live or unreachable"}}, pool.Passing,
		},
		"the agent has died after a failure": {
			api.HealthChecks{script("critical", "down"), {CheckID: "serfHealth", Status: "critical", Output: "Agent not live or unreachable"}}, pool.Critical,
		},
		"the agent has died before the first result": {
			api.HealthChecks{script("critical", ""), {CheckID: "serfHealth", Status: "critical", Output: "Agent not live or unreachable"}}, pool.Unchecked,
		},
		"another check of the Consul node fails": {
			api.HealthChecks{script("passing", "OK"), {CheckID: "disk", Status: "critical", Output: "full"}}, pool.Critical,
		},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, test.want, health(test.checks)) })
	}
}

func TestAHostNameIsKeptForTheResolverAndForTLS(t *testing.T) {
	n, problems, ok := newParser([]string{"default", "pow"}, 14267).parse(entry("Node-1.Example.org.", 443, "haproxy.scheme=https"))
	require.True(t, ok)
	assert.Empty(t, problems)
	assert.Equal(t, "node-1.example.org", n.Host.String())
	assert.Equal(t, n.Host, n.SNI)
	assert.False(t, n.Addr.Addr().IsValid())
	assert.EqualValues(t, 443, n.Addr.Port())
}

func TestANodeInWarningIsReducedUnlessConsulHasItsOwnWeightForIt(t *testing.T) {
	for name, test := range map[string]struct {
		weights api.AgentWeights
		tags    []string
		want    int
		reduced bool
	}{
		"Consul's default":    {api.AgentWeights{Passing: 1, Warning: 1}, nil, 1, true},
		"Consul's own":        {api.AgentWeights{Passing: 10, Warning: 3}, nil, 3, false},
		"a tag wins":          {api.AgentWeights{Passing: 10, Warning: 3}, []string{"haproxy.weight=8"}, 8, true},
		"none in Consul's is": {api.AgentWeights{Passing: 10, Warning: 0}, nil, 0, false},
	} {
		e := entry("10.0.0.1", 1, test.tags...)
		e.Service.Weights = test.weights
		e.Checks = api.HealthChecks{{CheckID: "x", Status: "warning"}}
		n, _, ok := newParser([]string{"default", "pow"}, 14267).parse(e)
		require.True(t, ok)
		assert.Equal(t, test.want, n.Weight, name)
		assert.Equal(t, test.reduced, n.Reduced, name)
	}
}

func TestConsulsOwnWeightsHoldWithoutATag(t *testing.T) {
	e := entry("10.0.0.1", 1)
	e.Service.Weights = api.AgentWeights{Passing: 65535, Warning: 3}
	n, _, _ := newParser([]string{"default", "pow"}, 14267).parse(e)
	assert.Equal(t, haproxy.MaxWeight, n.Weight)
	e.Checks = api.HealthChecks{{CheckID: "x", Status: "warning"}}
	n, _, _ = newParser([]string{"default", "pow"}, 14267).parse(e)
	assert.Equal(t, 3, n.Weight)
}

func TestHalfAnEntryIsSkipped(t *testing.T) {
	for _, e := range []*api.ServiceEntry{nil, {}, {Node: &api.Node{}}, {Service: &api.AgentService{}}} {
		_, problems, ok := newParser([]string{"default", "pow"}, 14267).parse(e)
		assert.False(t, ok)
		assert.Len(t, problems, 1)
	}
}

func FuzzATagNeverBecomesMoreThanItsValue(f *testing.F) {
	f.Add("haproxy.weight=1;disable server b/s", "10.0.0.1")
	f.Add("haproxy.scheme=https", "node.example.org")
	f.Add("haproxy.maxconn=1\nshutdown sessions server b/s", "fe80::1%x; disable server b/s")
	f.Fuzz(func(t *testing.T, tag, address string) {
		n, problems, ok := newParser([]string{"default", "pow"}, 14267).parse(entry(address, 14265, tag))
		for _, p := range problems {
			if strings.ContainsAny(p.Field+p.Reason, "\n\r") {
				t.Fatalf("a problem of several lines: %q", p)
			}
		}
		if !ok {
			return
		}
		if n.Host != (haproxy.Hostname{}) { // the resolver gives it its address
			n.Addr = netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), n.Addr.Port())
		}
		id, err := haproxy.NewServerID("b", "s1")
		if err != nil {
			t.Fatal(err)
		}
		sniMap, err := haproxy.NewPath("/var/lib/haproxy/b.sni")
		if err != nil {
			t.Fatal(err)
		}
		for _, cmd := range []haproxy.Command{
			haproxy.SetAddr(id, n.Addr), haproxy.SetWeight(id, n.Weight), haproxy.SetMaxConn(id, n.MaxConn),
			haproxy.SetSNI(sniMap, id, "", n.SNI),
			haproxy.AddServer(haproxy.NewServer{ID: id, Addr: n.Addr, Weight: n.Weight, MaxConn: n.MaxConn}),
		} {
			if strings.ContainsAny(cmd.String(), ";\n\r%<\\\"'") || len(strings.Fields(cmd.String())) > 8 {
				t.Fatalf("the tag %q and the address %q made the command %q", tag, address, cmd)
			}
		}
	})
}
