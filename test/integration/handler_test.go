//go:build integration

package integration

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	dc "github.com/ory/dockertest/v3/docker"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	nodeA = "127.0.1.1"
	nodeB = "127.0.1.2"
	nodeC = "127.0.1.3"
)

func at(host string) string { return net.JoinHostPort(host, strconv.Itoa(nodePort)) }

// bed is everything that a test of the daemon needs.
type bed struct {
	*consul
	*haproxy
	config string
	daemon *process
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{consul: startConsul(t), haproxy: startHAProxy(t, 20)}
	b.config = b.writeHandlerConfig(t, b.consul.address)
	return b
}

func (b *bed) run(t *testing.T) {
	t.Helper()
	b.daemon = start(t, "iri-lb-handler", "run", "--config", b.config)
}

func TestAChangeInConsulReachesHAProxyWithoutAReload(t *testing.T) {
	b := newBed(t)
	for _, n := range []string{nodeA, nodeB, nodeC} {
		startNode(t, n)
		b.register(t, n, n, nodePort)
	}
	b.run(t)
	for _, n := range []string{nodeA, nodeB, nodeC} {
		b.waitSlot(t, "iri_back", at(n), up)
	}
	assert.Empty(t, b.slots(t, "iri_pow_back"))
	answered := map[string]int{}
	for range 9 {
		who, err := ask(b.url, "")
		require.NoError(t, err)
		answered[who]++
	}
	assert.Equal(t, map[string]int{nodeA: 3, nodeB: 3, nodeC: 3}, answered)

	before, err := b.command("show info")
	require.NoError(t, err)
	var took []time.Duration
	for range 20 {
		time.Sleep(300 * time.Millisecond)
		b.set(t, nodeA, api.HealthCritical)
		began := time.Now()
		b.waitSlot(t, "iri_back", at(nodeA), out)
		took = append(took, time.Since(began).Round(time.Millisecond))
		b.set(t, nodeA, api.HealthPassing)
		b.waitSlot(t, "iri_back", at(nodeA), up)
	}
	assert.NotContains(t, b.daemon.log.String(), "[WARN]")
	slices.Sort(took)
	t.Logf("from a failing check to maintenance in HAProxy: median %s, longest %s (race detector on)", took[len(took)/2], took[len(took)-1])

	require.NoError(t, b.Agent().ServiceDeregister(nodeA))
	b.waitSlot(t, "iri_back", at(nodeA), slot{})
	after, err := b.command("show info")
	require.NoError(t, err)
	assert.Equal(t, field(before, "Pid"), field(after, "Pid"), "the worker is still the same")
}

func field(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func TestTagsAreTakenOverAndSoAreTheirChanges(t *testing.T) {
	b := newBed(t)
	b.run(t)
	b.register(t, "a", nodeA, nodePort, "haproxy.weight=7", "haproxy.maxconn=33")
	b.waitSlot(t, "iri_back", at(nodeA), slot{status: "no check", weight: "7", maxconn: "33"})

	b.register(t, "a", nodeA, nodePort, "haproxy.weight=9", "haproxy.maxconn=0", "haproxy.pow=true")
	b.waitSlot(t, "iri_back", at(nodeA), slot{status: "no check", weight: "9"})
	b.waitSlot(t, "iri_pow_back", at(nodeA), slot{status: "no check", weight: "9"})

	b.register(t, "a", nodeA, nodePort, "haproxy.pow=only")
	b.waitSlot(t, "iri_back", at(nodeA), slot{})
	b.waitSlot(t, "iri_pow_back", at(nodeA), slot{status: "no check", weight: "1", maxconn: "1"})

	b.register(t, "a", nodeA, nodePort, "haproxy.scheme=https", "haproxy.sslverify=0")
	b.waitSlot(t, "iri_pow_back", at(nodeA), slot{})
	b.waitSlot(t, "iri_back", at(nodeA), up)
	assert.Contains(t, b.slots(t, "iri_back")[at(nodeA)].name, "https-noverify")
}

func TestAHostileServiceHarmsNoOther(t *testing.T) {
	b := newBed(t)
	b.run(t)
	b.register(t, "good", nodeA, nodePort)
	b.waitSlot(t, "iri_back", at(nodeA), up)
	for id, address := range map[string]string{
		"x; disable server iri_back/http1": "x; disable server iri_back/http1",
		"new\nline":                        "127.0.1.9\ndisable server iri_back/http1",
		"zone":                             "fe80::1%x;shutdown",
		"multicast":                        "224.0.0.1",
		"longname":                         strings.Repeat("x", 5000),
	} {
		b.registerUnchecked(t, id, address, nodePort)
	}
	b.registerUnchecked(t, "port", "127.0.1.8", 70000)
	b.registerUnchecked(t, "placeholder", "127.0.0.1", 1)
	b.registerUnchecked(t, "tags", nodeB, nodePort, "haproxy.weight=1;disable server iri_back/http1", "haproxy.maxconn=-1",
		"haproxy.pow=perhaps", "haproxy.unknown=1", "haproxy.weight", "haproxy.weight=4294967297", "other=tag")
	b.waitSlot(t, "iri_back", at(nodeB), up)
	b.waitSlot(t, "iri_back", at(nodeA), up)
	time.Sleep(3 * time.Second) // longer than a resync: no warning may come again
	assert.Len(t, b.slots(t, "iri_back"), 2)
	for service, warnings := range map[string]int{
		"service=zone": 1, "service=port": 1, "service=multicast": 1, "service=placeholder": 1,
		`new\nline`: 1, `service="x; disable server`: 1, "service=longname": 1, "service=tags": 6,
	} {
		got := 0
		for line := range strings.Lines(b.daemon.log.String()) {
			if strings.Contains(line, "[WARN]") && strings.Contains(line, service) {
				got++
			}
		}
		assert.Equal(t, warnings, got, "warnings of %s", service)
	}
}

func TestWithoutConsulNothingIsRemovedAndTheHandlerRecovers(t *testing.T) {
	b := newBed(t)
	for _, n := range []string{nodeA, nodeB} {
		startNode(t, n)
		b.registerScript(t, n, n, nodePort)
	}
	b.run(t)
	b.waitSlot(t, "iri_back", at(nodeA), up)
	b.waitSlot(t, "iri_back", at(nodeB), up)
	tr := startTraffic(t, b.url)
	require.NoError(t, docker.Client.StopContainer(b.consul.container.Container.ID, 10))
	time.Sleep(3 * time.Second)
	require.Len(t, b.slots(t, "iri_back"), 2)
	// Consul comes back with every check critical and not yet run.
	require.NoError(t, docker.Client.StartContainer(b.consul.container.Container.ID, nil))
	b.waitLeader(t)
	eventually(t, 20*time.Second, "the checks pass again", func() error {
		checks, _, err := b.Health().Service("iri", "", true, nil)
		if err == nil && len(checks) != 2 {
			err = fmt.Errorf("%d pass", len(checks))
		}
		return err
	})
	tr.stop(t)
	setNode(t, nodeA, `{"behind": 5}`)
	b.waitSlot(t, "iri_back", at(nodeA), out)
	b.waitSlot(t, "iri_back", at(nodeB), up)
	setNode(t, nodeA, `{"behind": 0}`)
	b.waitSlot(t, "iri_back", at(nodeA), up)
}

func TestARestartedHAProxyGetsItsSlotsBack(t *testing.T) {
	b := newBed(t)
	b.run(t)
	b.register(t, "a", nodeA, nodePort, "haproxy.weight=5", "haproxy.maxconn=8")
	want := slot{status: "no check", weight: "5", maxconn: "8"}
	b.waitSlot(t, "iri_back", at(nodeA), want)
	require.NoError(t, docker.Client.KillContainer(dc.KillContainerOptions{ID: b.haproxy.container.Container.ID}))
	time.Sleep(time.Second)
	require.NoError(t, docker.Client.StartContainer(b.haproxy.container.Container.ID, nil))
	b.waitSlot(t, "iri_back", at(nodeA), want)
}

func TestAReloadLosesNoRequestAndNoSlot(t *testing.T) {
	b := newBed(t)
	for _, n := range []string{nodeA, nodeB} {
		startNode(t, n)
		b.register(t, n, n, nodePort, "haproxy.weight=5", "haproxy.maxconn=88")
	}
	want := slot{status: "no check", weight: "5", maxconn: "88"}
	// No daemon: the reload alone has to keep everything, without Consul too.
	code, log := runProgram(t, "iri-lb-handler", "sync", "--config", b.config)
	require.Zero(t, code, log)
	b.waitSlot(t, "iri_back", at(nodeA), want)
	require.NoError(t, docker.Client.StopContainer(b.consul.container.Container.ID, 10))
	tr := startTraffic(t, b.url)
	for range 3 {
		old, err := b.command("show info")
		require.NoError(t, err)
		code, log := runProgram(t, "iri-lb-handler", "reload", "--config", b.config)
		require.Zero(t, code, log)
		now, err := b.command("show info")
		require.NoError(t, err)
		require.NotEqual(t, field(old, "Pid"), field(now, "Pid"))
		for _, n := range []string{nodeA, nodeB} {
			b.waitSlot(t, "iri_back", at(n), want)
		}
		time.Sleep(300 * time.Millisecond)
	}
	tr.stop(t)
}

func TestAReloadWithABadConfigurationSaysWhyAndChangesNothing(t *testing.T) {
	b := newBed(t)
	b.run(t)
	b.register(t, "a", nodeA, nodePort)
	b.waitSlot(t, "iri_back", at(nodeA), up)
	text, err := os.ReadFile(b.dir + "/haproxy.cfg")
	require.NoError(t, err)
	b.configure(t, strings.Replace(string(text), "mode http", "mode nonsense", 1))
	code, log := runProgram(t, "iri-lb-handler", "reload", "--config", b.config, "--timeout", "5s")
	assert.Equal(t, 1, code)
	if strings.HasSuffix(image("HAPROXY_IMAGE", "haproxy:3.0"), ":2.6") { // whose master gives no verdict
		assert.Contains(t, log, "no new worker")
	} else {
		assert.Contains(t, log, "nonsense", "HAProxy's own words")
	}
	b.waitSlot(t, "iri_back", at(nodeA), up)
}

func TestSyncMakesOnePassAndExits(t *testing.T) {
	b := newBed(t)
	b.register(t, "a", nodeA, nodePort)
	code, log := runProgram(t, "iri-lb-handler", "sync", "--config", b.config)
	require.Zero(t, code, log)
	b.waitSlot(t, "iri_back", at(nodeA), up)
	require.NoError(t, b.Agent().ServiceDeregister("a"))
	code, log = runProgram(t, "iri-lb-handler", "sync", "--config", b.config)
	require.Zero(t, code, log)
	b.waitSlot(t, "iri_back", at(nodeA), slot{})
}

func TestSyncGivesUpWithAReasonWhenConsulIsAway(t *testing.T) {
	h := startHAProxy(t, 5)
	config := h.writeHandlerConfig(t, "http://127.0.0.1:9")
	code, log := runProgram(t, "iri-lb-handler", "sync", "--config", config, "--timeout", "2s")
	assert.Equal(t, 1, code)
	assert.Contains(t, log, "connection refused")
	assert.Contains(t, log, "127.0.0.1:9")
}

func TestManyPassesAtOnceAreSafe(t *testing.T) {
	b := newBed(t)
	b.run(t)
	for i := range 15 {
		b.register(t, fmt.Sprint(i), fmt.Sprintf("127.0.2.%d", i+1), nodePort)
	}
	var running []*process
	for range 8 {
		running = append(running, start(t, "iri-lb-handler", "sync", "--config", b.config))
	}
	for _, p := range running {
		require.NoError(t, p.cmd.Wait(), p.log)
	}
	assert.Len(t, b.slots(t, "iri_back"), 15)
	for addr, s := range b.slots(t, "iri_back") {
		assert.Equal(t, "no check", s.status, addr)
	}
}

func TestASlotChangedByHandIsPutBackAlsoWhileOthersChange(t *testing.T) {
	b := newBed(t)
	b.run(t)
	b.register(t, "a", nodeA, nodePort, "haproxy.maxconn=7")
	b.register(t, "b", nodeB, nodePort)
	want := slot{status: "no check", weight: "1", maxconn: "7"}
	b.waitSlot(t, "iri_back", at(nodeA), want)
	name := "iri_back/" + b.slots(t, "iri_back")[at(nodeA)].name
	for i := range 2 {
		for _, cmd := range []string{"set server " + name + " state maint", "set server " + name + " weight 100", "set maxconn server " + name + " 9"} {
			_, err := b.command(cmd)
			require.NoError(t, err)
		}
		deadline := time.Now().Add(10 * time.Second) // the resync interval is 2 s
		for n := 0; b.slots(t, "iri_back")[at(nodeA)].maxconn != "7"; n++ {
			require.True(t, time.Now().Before(deadline), "round %d: it was not put back", i)
			b.register(t, "b", nodeB, nodePort, fmt.Sprint("other=", n))
			time.Sleep(100 * time.Millisecond)
		}
		b.waitSlot(t, "iri_back", at(nodeA), want)
	}
	_, metrics := b.get(t, "/metrics")
	assert.Regexp(t, `iri_lb_handler_drift_total\{pool="default"\} [1-9]`, metrics)
}

func TestATokenThatMayNotReadIsNoEmptyRegistry(t *testing.T) {
	b := newBed(t)
	b.run(t)
	b.register(t, "a", nodeA, nodePort)
	b.waitSlot(t, "iri_back", at(nodeA), up)
	b.daemon.stop(syscall.SIGTERM)

	const master = "11111111-1111-1111-1111-111111111111"
	closed := startConsul(t, "-hcl", `acl { enabled = true default_policy = "deny" tokens { initial_management = "`+master+`" } }`)
	client, err := api.NewClient(&api.Config{Address: closed.address, Token: master})
	require.NoError(t, err)
	eventually(t, 20*time.Second, "the service is in the catalog", func() error {
		_, err := client.Catalog().Register(&api.CatalogRegistration{
			Node: "n", Address: "127.0.0.1", Service: &api.AgentService{Service: "iri", Address: nodeB, Port: nodePort},
		}, nil)
		return err
	})
	_, _, err = client.ACL().PolicyCreate(&api.ACLPolicy{Name: "other", Rules: `service "other" { policy = "read" }`}, nil)
	require.NoError(t, err)
	token, _, err := client.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{Name: "other"}}}, nil)
	require.NoError(t, err)
	tokenFile := b.dir + "/token"
	sync := func(config string) (int, string) {
		return runProgram(t, "iri-lb-handler", "sync", "--config", config, "--timeout", "2s")
	}
	withToken := b.writeHandlerConfig(t, closed.address, `consul: {`, `consul: {token_file: `+tokenFile+`, `)
	for text, want := range map[string]string{
		token.SecretID:                         "token may not read",
		"22222222-2222-2222-2222-222222222222": "ACL not found",
		"":                                     "is empty",
	} {
		require.NoError(t, os.WriteFile(tokenFile, []byte(text), 0o600))
		code, log := sync(withToken)
		assert.Equal(t, 1, code)
		assert.Contains(t, log, want)
	}
	code, log := sync(b.writeHandlerConfig(t, closed.address))
	assert.Equal(t, 1, code)
	assert.Contains(t, log, "without a token")
	b.waitSlot(t, "iri_back", at(nodeA), up)
}

func TestReadinessSaysWhatIsMissing(t *testing.T) {
	h := startHAProxy(t, 5)
	config := h.writeHandlerConfig(t, "http://127.0.0.1:9")
	b := &bed{haproxy: h, config: config}
	b.run(t)
	eventually(t, 10*time.Second, "Consul's failure is told", func() error {
		if code, body := b.get(t, "/readyz"); code != 503 || !strings.Contains(body, "Consul: ask Consul") {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
	code, _ := b.get(t, "/healthz")
	assert.Equal(t, 200, code, "alive although not ready")
	_, metrics := b.get(t, "/metrics")
	assert.Contains(t, metrics, `iri_lb_handler_last_success_timestamp_seconds{socket="`+h.dir+`/admin.sock"} 0`)
}

// get asks the daemon's own server.
func (b *bed) get(t *testing.T, path string) (int, string) {
	t.Helper()
	text, err := os.ReadFile(b.config)
	require.NoError(t, err)
	_, listen, _ := strings.Cut(string(text), "listen: ")
	listen, _, _ = strings.Cut(listen, "\n")
	resp, err := http.Get("http://" + listen + path)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}
