//go:build integration

package chaos

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// Nodes in Consul: the healthy ones are registered all the time, the others come and go.
var (
	healthyNodes = []string{"127.0.2.1", "127.0.2.2", "127.0.2.3", "127.0.2.4", "127.0.2.5", "127.0.2.6"}
	otherNodes   = []string{"127.0.2.11", "127.0.2.12", "127.0.2.13", "127.0.2.14"}
)

// bed is Consul, HAProxy, the handler and the load, with the means to disturb what they say to each other.
type bed struct {
	*harness.Bed
	fault  atomic.Pointer[harness.Intercept] // of Consul's answers
	socket *socketProxy                      // between the handler and HAProxy, nil in watch mode
	load   *harness.Load
	// pow is the load of the pool for proof of work, nil but for rows about that pool.
	pow *harness.Load
	// token is what the handler may read Consul with, nil where it needs none.
	token *api.ACLToken
	// answered is when HAProxy's socket answered again, for rows where it was away, and back when it had all nodes again.
	answered, back time.Time
	// note is what the table says beside the row's name.
	note string
}

func newBed(t *testing.T, r row) *bed {
	t.Helper()
	h := harness.StartHAProxy(t, harness.WithSlots(40))
	for _, n := range append(append([]string{}, healthyNodes...), otherNodes...) {
		harness.StartNode(t, n)
	}
	b := &bed{}
	if r.mode == "watch" {
		b.Bed = harness.JoinBed(t, startWatchingConsul(t, h), h)
	} else {
		start := func(t *testing.T) *harness.Consul { return harness.StartConsul(t) }
		if r.acls {
			start = harness.StartConsulWithACLs
		}
		b.Bed = harness.JoinBed(t, start(t), h)
		b.socket = startSocketProxy(t, h.AdminSocket())
		address := b.InterceptHealthQueries(t, func(w http.ResponseWriter, r *http.Request) bool {
			f := b.fault.Load()
			return f != nil && (*f)(w, r)
		})
		b.Change(t, func(c *harness.HandlerConfig) { c.Consul, c.AdminSockets = address, []string{b.socket.path} })
	}
	if r.acls {
		b.token = b.NewToken(t)
		b.writeToken(t, b.token)
		b.Change(t, func(c *harness.HandlerConfig) { c.TokenFile = b.tokenFile() })
	}
	b.registerHealthy(t)
	if r.mode == "daemon" {
		b.Run(t)
	}
	b.waitHealthy(t)
	return b
}

// startWatchingConsul starts a Consul that runs the handler for every event, as iri_lb_handler_mode watch does.
func startWatchingConsul(t *testing.T, h *harness.HAProxy) *harness.Consul {
	t.Helper()
	harness.BuildStatic(t, "./src/cmd/iri-lb-handler", "iri-lb-handler-static")
	return harness.StartConsulWith(t, []string{h.Dir + ":" + h.Dir}, "-hcl", fmt.Sprintf(
		`watches = [{type = "service", service = "iri", handler_type = "script", args = ["/scripts/iri-lb-handler-static", "sync", "--config", %q]}]`,
		h.Dir+"/config.yml"))
}

// undisturbed is a configuration with which the handler speaks to Consul and HAProxy without the proxies between.
func (b *bed) undisturbed(t *testing.T) (file string) {
	t.Helper()
	return b.Variant(t, func(c *harness.HandlerConfig) {
		c.Consul, c.AdminSockets = b.Consul.Address, []string{b.AdminSocket()}
	})
}

func (b *bed) tokenFile() string { return b.Dir + "/token" }

func (b *bed) writeToken(t *testing.T, token *api.ACLToken) {
	t.Helper()
	require.NoError(t, os.WriteFile(b.tokenFile(), []byte(token.SecretID+"\n"), 0o600))
}

func (b *bed) registerHealthy(t *testing.T) {
	t.Helper()
	for _, n := range healthyNodes {
		b.RegisterWithScript(t, n, n, harness.NodePort)
	}
}

// wrong says what is wrong with the slots of the healthy nodes: each has to be in exactly one, in service, with its
// values.
func (b *bed) wrong() error {
	text, err := b.Command("show servers state " + harness.Backend)
	if err != nil {
		return err
	}
	slots := map[string]int{}
	for _, s := range harness.ParseServers(text) {
		up := s["srv_op_state"] == "1" || s["srv_op_state"] == "2" // 1: it starts slowly
		if up && s["srv_admin_state"] == "4" && s["srv_uweight"] == "1" {
			slots[s["srv_addr"]+":"+s["srv_port"]]++
		}
	}
	for _, n := range healthyNodes {
		if slots[harness.At(n)] != 1 {
			return fmt.Errorf("%s is in service in %d slots", n, slots[harness.At(n)])
		}
	}
	return nil
}

func (b *bed) waitHealthy(t *testing.T) {
	t.Helper()
	harness.Eventually(t, 60*time.Second, "every healthy node is in service in one slot", b.wrong)
}

// during replaces Consul's answers for some time.
func (b *bed) during(t *testing.T, d time.Duration, f harness.Intercept) {
	t.Helper()
	b.fault.Store(&f)
	b.touch(t)
	harness.Keep(d) // how long the fault lasts
	b.fault.Store(nil)
}

// touch changes a node, so that Consul answers the blocking query.
func (b *bed) touch(t *testing.T) {
	t.Helper()
	b.Register(t, otherNodes[0], otherNodes[0], harness.NodePort, fmt.Sprint("other=", time.Now().UnixNano()))
}

// churn makes nodes come, fail, return and go until the time is over.
func (b *bed) churn(t *testing.T, d time.Duration) {
	t.Helper()
	require.NoError(t, b.churnFor(d))
}

func (b *bed) churnFor(d time.Duration) error {
	for end, i := time.Now().Add(d), 0; time.Now().Before(end); i++ {
		n := otherNodes[i%len(otherNodes)]
		err := b.Agent().ServiceRegister(harness.TTLNode(n, n, harness.NodePort))
		for _, status := range []string{api.HealthCritical, api.HealthPassing} {
			harness.ShortDelay()
			if err == nil {
				err = b.UpdateHealth(n, status)
			}
		}
		harness.ShortDelay()
		if err == nil && i%3 == 0 {
			err = b.Agent().ServiceDeregister(n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// restartHAProxy starts HAProxy again as its unit does after the function has ended it, and measures how long after its
// socket's first answer all nodes are back.
func (b *bed) restartHAProxy(t *testing.T, end func()) {
	t.Helper()
	end()
	b.HAProxy.Container.WaitStopped(t)
	harness.Keep(time.Second) // how long it is down
	require.NoError(t, os.WriteFile(b.StateFile(), []byte("1\n"), 0o600))
	b.HAProxy.Container.StartAgain(t)
	harness.StartProgram(t, "iri-lb-handler", "sync", "--config", b.ConfigFile, "--timeout", "10s") // as ExecStartPost
	pollClosely(t, 30*time.Second, func() error { _, err := b.Command("show info"); return err })
	b.answered = time.Now()
	pollClosely(t, 30*time.Second, b.wrong)
	b.back = time.Now()
}

// pollClosely is for what is measured.
func pollClosely(t *testing.T, within time.Duration, condition func() error) {
	t.Helper()
	err := condition()
	for end := time.Now().Add(within); err != nil; err = condition() {
		require.True(t, time.Now().Before(end), "not within %s: %v", within, err)
		time.Sleep(time.Millisecond) // between two looks
	}
}

// requireNothingToChange: the handler itself finds nothing to change any more, be it an address, a weight, a limit, or a
// slot that serves a node which should not.
func (b *bed) requireNothingToChange(t *testing.T) {
	t.Helper()
	b.waitHealthy(t)
	config := b.undisturbed(t)
	harness.Eventually(t, 20*time.Second, "nothing is left to change", func() error {
		if code, out := harness.RunProgram(t, "iri-lb-handler", "plan", "--config", config); code != 0 {
			return errors.New(out)
		}
		return nil
	})
}

// changeArrives is how long a new node, which then fails, takes to come and to leave.
func (b *bed) changeArrives(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	n := otherNodes[1]
	b.Register(t, n, n, harness.NodePort)
	b.SetHealth(t, n, api.HealthPassing)
	b.WaitSlot(t, harness.Backend, harness.At(n), harness.Up)
	b.SetHealth(t, n, api.HealthCritical)
	b.WaitSlot(t, harness.Backend, harness.At(n), harness.InMaintenance)
	return time.Since(began)
}

func newClient(everyRequestNew bool) *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: everyRequestNew}}
}
