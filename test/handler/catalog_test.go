//go:build integration

package handler

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// quick are the flags of `node add` for a test: a node that fails is noticed soon, and a busy machine is no failure.
var quick = []string{"--check", "skip-limited=true&max-answer=8&timeout=8", "--interval", "1s"}

// node runs `iri-lb-handler node` with the bed's configuration.
func node(t *testing.T, b *harness.Bed, args ...string) (int, string) {
	t.Helper()
	return harness.RunProgram(t, "iri-lb-handler", append([]string{"node", "--config", b.ConfigFile}, args...)...)
}

// requireNode runs one that has to succeed.
func requireNode(t *testing.T, b *harness.Bed, args ...string) string {
	t.Helper()
	code, out := node(t, b, args...)
	require.Zero(t, code, "node %s: %s", strings.Join(args, " "), out)
	return out
}

func add(t *testing.T, b *harness.Bed, args ...string) {
	t.Helper()
	requireNode(t, b, append(append([]string{"add"}, args...), quick...)...)
}

func TestNodeOfTheCatalogServesAsLongAsThisHostFindsItHealthy(t *testing.T) {
	b := harness.NewBed(t, harness.WithSlots(20))
	b.Run(t)
	for _, n := range []string{harness.NodeA, harness.NodeB} {
		harness.StartNode(t, n)
		add(t, b, n, "--tag", "haproxy.weight=4")
		b.WaitSlot(t, harness.Backend, harness.At(n), harness.Slot{Status: "UP", Weight: "4"})
	}
	wallets := harness.StartWallets(b.URL)
	for range 2 {
		harness.SetNode(t, harness.NodeA, `{"behind": 5}`)
		b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.Slot{Status: "MAINT", Weight: "4"})
		harness.SetNode(t, harness.NodeA, `{"behind": 0}`)
		b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.Slot{Status: "UP", Weight: "4"})
	}
	assert.Contains(t, b.Daemon.Log(), "a node of the catalog is critical")
	_, metrics := b.Get(t, "/metrics")
	assert.Regexp(t, `iri_lb_handler_node_checks_total\{verdict="critical"\} [1-9]`, metrics)

	assert.Equal(t, "removed "+harness.At(harness.NodeA)+"\n", requireNode(t, b, "remove", harness.NodeA))
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.NoSlot)
	wallets.Stop(t)
}

// The Consul node of a host that has died stays for days, and everything that was registered there with it.
func TestNodesOfDeadAgentStayInService(t *testing.T) {
	b := newBed(t)
	nodes := []string{harness.NodeA, harness.NodeB, harness.NodeC, "127.0.1.4"}
	alive := func(status string) *api.AgentCheck {
		return &api.AgentCheck{Node: "host9", CheckID: "serfHealth", Name: "Serf Health Status", Status: status, Output: "by the test"}
	}
	for _, n := range nodes {
		harness.StartNode(t, n)
		_, err := b.Catalog().Register(&api.CatalogRegistration{
			Node: "host9", Address: "127.0.9.9",
			Service: &api.AgentService{ID: n, Service: "iri", Address: n, Port: harness.NodePort, Weights: api.AgentWeights{Passing: 1, Warning: 1}},
			Checks: api.HealthChecks{
				{Node: "host9", CheckID: "serfHealth", Name: "Serf Health Status", Status: api.HealthPassing},
				{Node: "host9", CheckID: harness.CheckID(n), ServiceID: n, Name: "node", Status: api.HealthPassing, Output: "OK"},
			},
		}, nil)
		require.NoError(t, err)
	}
	b.Run(t)
	for _, n := range nodes {
		b.WaitSlot(t, harness.Backend, harness.At(n), harness.InService)
	}
	wallets := harness.StartWallets(b.URL)
	_, err := b.Catalog().Register(&api.CatalogRegistration{Node: "host9", Address: "127.0.9.9", Check: alive(api.HealthCritical)}, nil)
	require.NoError(t, err)
	// The next change is applied after this one.
	harness.StartNode(t, "127.0.1.5")
	b.Register(t, "marker", "127.0.1.5", harness.NodePort)
	b.WaitSlot(t, harness.Backend, harness.At("127.0.1.5"), harness.InService)
	for _, n := range nodes {
		b.WaitSlot(t, harness.Backend, harness.At(n), harness.InService)
	}
	assert.NotContains(t, b.Daemon.Log(), "most nodes")
	wallets.WaitSent(t, 500)
	wallets.Stop(t)
}

func TestNodeCommandsSayWhatIsRegisteredWhere(t *testing.T) {
	b := newBed(t)
	b.Register(t, "agent-node", harness.NodeB, harness.NodePort, "haproxy.pow=true")
	assert.Equal(t, "added 127.0.1.1:14265\n", requireNode(t, b, "add", harness.NodeA, "--check", "pow=true", "--tag", "haproxy.pow=true"))
	assert.Equal(t, "unchanged 127.0.1.1:14265\n", requireNode(t, b, "add", harness.NodeA, "--check", "pow=true", "--tag", "haproxy.pow=true"))
	assert.Equal(t, "changed 127.0.1.1:14265\n", requireNode(t, b, "add", harness.NodeA, "--interval", "10s"))
	assert.Contains(t, requireNode(t, b, "add", harness.NodeB), "note: the node is registered at the agent test as well; to deregister it there, on that host: curl")
	out := requireNode(t, b, "list")
	assert.Regexp(t, `(?m)^127\.0\.1\.1:14265 +127\.0\.1\.1 +14265 +catalog +- +- +10s$`, out)
	assert.Regexp(t, `(?m)^agent-node +127\.0\.1\.2 +14265 +test +haproxy\.pow=true +- +-$`, out)
	var list []struct {
		ID string
		At string `json:"registered_at"`
	}
	require.NoError(t, json.Unmarshal([]byte(requireNode(t, b, "list", "--json")), &list))
	assert.Len(t, list, 3)

	code, out := node(t, b, "remove", "agent-node")
	assert.Equal(t, 1, code)
	assert.Contains(t, out, "is registered at the agent test and not in the catalog; deregister it on that host: curl -H")
	assert.Contains(t, out, "/v1/agent/service/deregister/agent-node'")
	code, out = node(t, b, "remove", "10.9.9.9")
	assert.Equal(t, 1, code)
	assert.Contains(t, out, "no node 10.9.9.9 is registered; see iri-lb-handler node list")
	code, out = node(t, b, "add", harness.NodeC, "--tag", "haproxy.wight=3", "--check", "pwo=true")
	assert.Equal(t, 1, code)
	assert.Contains(t, out, "node 127.0.1.3:14265: tag haproxy.wight=3: unknown key")
	assert.Contains(t, out, `check options (Meta iri-check): unknown key "pwo"`)

	b.RequireHandler(t, "sync")
	_, out = b.Handler(t, "status")
	assert.Regexp(t, `(?m)^127\.0\.1\.1:14265 +127\.0\.1\.1:14265 +passing .* catalog$`, out)
	assert.Regexp(t, `(?m)^agent-node +127\.0\.1\.2:14265 +passing .* test$`, out)
}

func TestNodesOfTheListAreAppliedAndOthersLeftAlone(t *testing.T) {
	b := newBed(t)
	b.Register(t, "agent-node", harness.NodeB, harness.NodePort)
	requireNode(t, b, "add", "10.9.9.9", "--id", "by-hand")
	apply := func(list string) (int, string) {
		file := b.Dir + "/nodes-to-apply.json"
		require.NoError(t, os.WriteFile(file, []byte(list), 0o600))
		return node(t, b, "apply", file)
	}
	requireApply := func(list, want string) {
		t.Helper()
		code, out := apply(list)
		require.Zero(t, code, out)
		assert.Equal(t, want, out)
	}
	requireApply(`[{"address": "10.0.0.1"}, {"address": "10.0.0.2:15000", "id": "two", "tags": ["haproxy.pow=true"], "check": "pow=true"}]`,
		"added 10.0.0.1:14265\nadded two\n")
	requireApply(`[{"address": "10.0.0.1"}, {"address": "10.0.0.2", "port": 15000, "id": "two", "tags": ["haproxy.pow=true"], "check": "pow=true"}]`, "")
	requireApply(`[{"address": "10.0.0.2:15000", "id": "two", "interval": "10s"}]`, "removed 10.0.0.1:14265\nchanged two\n")
	assert.Contains(t, requireNode(t, b, "list"), "catalog (iri_nodes)")

	code, out := apply(`[{"address": "10.0.0.3"}, {"address": "10.0.0.4", "tags": ["haproxy.pow=perhaps"]}]`)
	assert.Equal(t, 1, code)
	assert.Contains(t, out, "node 10.0.0.4:14265: tag haproxy.pow=perhaps: the value is not true, false or only")
	assert.NotContains(t, requireNode(t, b, "list"), "10.0.0.3", "nothing is written when one entry is wrong")

	// More than one transaction.
	var many []string
	for i := range 150 {
		many = append(many, fmt.Sprintf(`{"address": "10.1.0.%d"}`, i+1))
	}
	code, out = apply("[" + strings.Join(many, ",") + "]")
	require.Zero(t, code, out)
	assert.Equal(t, 150, harness.CountLines(out, "added "))

	code, out = apply("[]")
	require.Zero(t, code, out)
	assert.Equal(t, 150, harness.CountLines(out, "removed "))
	out = requireNode(t, b, "list")
	assert.Contains(t, out, "by-hand")
	assert.Contains(t, out, "agent-node")
	assert.NotContains(t, out, "iri_nodes")
}

func TestNodeCommandsNeedATokenThatMayWrite(t *testing.T) {
	c := harness.StartConsulWithACLs(t)
	b := harness.JoinBed(t, c, harness.StartHAProxy(t, harness.WithSlots(20), harness.WithoutHealthChecks()))
	t.Setenv("CONSUL_HTTP_TOKEN", "")
	code, out := node(t, b, "list")
	assert.Equal(t, 1, code)
	assert.Contains(t, out, "CONSUL_HTTP_TOKEN is not set, and Consul asks for a token; as root: export CONSUL_HTTP_TOKEN=$(cat /etc/consul/consul_master_token)")
	for _, token := range []string{c.NewToken(t).SecretID, "22222222-2222-2222-2222-222222222222"} {
		t.Setenv("CONSUL_HTTP_TOKEN", token)
		code, out = node(t, b, "add", harness.NodeA)
		assert.Equal(t, 1, code)
		assert.Contains(t, out, "Consul refuses the token in CONSUL_HTTP_TOKEN, which must be one that may write")
	}
	t.Setenv("CONSUL_HTTP_TOKEN", harness.ManagementToken)
	requireNode(t, b, "add", harness.NodeA)
	requireNode(t, b, "remove", harness.NodeA)
}

// leaderless is a Consul server that waits for others, which never come.
func leaderless(t *testing.T) string {
	t.Helper()
	p := harness.FreePorts(t, 5)
	harness.StartContainer(t, harness.ConsulImage(), "consul", []string{
		"agent", "-server", "-bootstrap-expect=3", "-node=alone", "-bind=127.0.0.1", "-client=127.0.0.1", "-data-dir=/tmp/consul", "-log-level=error",
		fmt.Sprintf("-http-port=%d", p[0]), fmt.Sprintf("-server-port=%d", p[1]), fmt.Sprintf("-serf-lan-port=%d", p[2]),
		fmt.Sprintf("-serf-wan-port=%d", p[3]), fmt.Sprintf("-dns-port=%d", p[4]), "-grpc-port=-1", "-grpc-tls-port=-1",
	})
	address := "http://" + harness.Local(p[0])
	client, err := api.NewClient(&api.Config{Address: address})
	require.NoError(t, err)
	harness.Eventually(t, 20*time.Second, "the agent answers", func() error { _, err := client.Agent().Self(); return err })
	return address
}

func TestWithoutLeaderHAProxyIsFilledFromTheDisk(t *testing.T) {
	b := harness.NewBed(t, harness.WithSlots(20))
	for _, n := range []string{harness.NodeA, harness.NodeB, harness.NodeC} {
		harness.StartNode(t, n)
	}
	add(t, b, harness.NodeA)
	add(t, b, harness.NodeB)
	b.Register(t, "c", harness.NodeC, harness.NodePort)
	b.Run(t)
	for _, n := range []string{harness.NodeA, harness.NodeB, harness.NodeC} {
		b.WaitSlot(t, harness.Backend, harness.At(n), harness.Up)
	}
	b.Daemon.Stop(syscall.SIGTERM)
	require.FileExists(t, b.Config.NodesFile)
	mode, err := os.Stat(b.Config.NodesFile)
	require.NoError(t, err)
	assert.EqualValues(t, 0o600, mode.Mode().Perm())
	consul := b.Config.Consul
	alone := leaderless(t)

	// HAProxy starts anew, without the daemon.
	b.Change(t, func(c *harness.HandlerConfig) { c.Consul = alone })
	b.HAProxy.Container.Remove()
	b.HAProxy.Start(t)
	began := time.Now()
	sync := harness.StartProgram(t, "iri-lb-handler", "sync", "--config", b.ConfigFile, "--timeout", "3s")
	for _, n := range []string{harness.NodeA, harness.NodeB, harness.NodeC} {
		b.WaitSlot(t, harness.Backend, harness.At(n), harness.Up)
	}
	t.Logf("sync without a leader: in service %s after its start", time.Since(began).Round(time.Millisecond))
	require.Error(t, sync.Wait(), "Consul has not answered")
	assert.Contains(t, sync.Log(), "HAProxy has the nodes of the last list on the disk, and loses none")

	// And again, with the daemon.
	b.HAProxy.Container.Remove()
	b.HAProxy.Start(t)
	began = time.Now()
	b.Run(t)
	for _, n := range []string{harness.NodeA, harness.NodeB, harness.NodeC} {
		b.WaitSlot(t, harness.Backend, harness.At(n), harness.Up)
	}
	t.Logf("the daemon without a leader: in service %s after its start", time.Since(began).Round(time.Millisecond))
	wallets := harness.StartWallets(b.URL)
	_, body := b.Get(t, "/readyz")
	assert.Contains(t, body, "the nodes are those of the last list on the disk, until Consul answers")
	code, out := b.Handler(t, "status")
	assert.Equal(t, 1, code)
	assert.Contains(t, out, "The nodes are those of the last list on the disk, "+b.Config.NodesFile)
	assert.Regexp(t, `(?m)^c +127\.0\.1\.3:14265 +passing .* test$`, out)
	// This host's checks go on.
	harness.SetNode(t, harness.NodeA, `{"behind": 5}`)
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.InMaintenance)
	harness.SetNode(t, harness.NodeA, `{"behind": 0}`)
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.Up)
	wallets.Stop(t)
	b.Daemon.Stop(syscall.SIGTERM)

	// A node is deregistered while this host is off. The first answer of Consul's removes it.
	b.Change(t, func(c *harness.HandlerConfig) { c.Consul = consul })
	requireNode(t, b, "remove", harness.NodeA)
	b.HAProxy.Container.Remove()
	b.HAProxy.Start(t)
	b.Change(t, func(c *harness.HandlerConfig) { c.Consul = nobody })
	_, _ = b.Handler(t, "sync", "--timeout", "2s")
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.Up)
	b.Change(t, func(c *harness.HandlerConfig) { c.Consul = consul })
	b.Run(t)
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.NoSlot)
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeB), harness.Up)
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeC), harness.Up)
}
