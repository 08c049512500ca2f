//go:build integration && chaos

package integration

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	dc "github.com/ory/dockertest/v3/docker"
	"github.com/stretchr/testify/require"
)

// row is one line of the table in docs/reliability.md.
type row struct {
	name string
	mode string // daemon or watch
	// do makes the fault, ends it and returns when it is over.
	do func(t *testing.T, b *chaosBed)
	// away: HAProxy itself is not there for a while. What is lost counts from
	// when it has its nodes again.
	away bool
	// careless: what an operator should not do. It is shown, and not judged.
	careless bool
}

// result is what was seen of a row.
type result struct {
	row
	sent, lost int
	// empty is how many requests were lost while HAProxy was there without nodes.
	empty int
	// done is false for a row that was not seen to its end.
	done bool
	// change is how long a change took to arrive after the fault was over.
	change time.Duration
	// back is how long after its socket's first answer HAProxy had all nodes again.
	back time.Duration
}

// chaosNodes are always healthy and registered; extras come and go.
var (
	chaosNodes = []string{"127.0.2.1", "127.0.2.2", "127.0.2.3", "127.0.2.4", "127.0.2.5", "127.0.2.6"}
	extras     = []string{"127.0.2.11", "127.0.2.12", "127.0.2.13", "127.0.2.14"}
)

// chaosBed is Consul, HAProxy, the handler and the load, with the means to
// disturb what they say to each other.
type chaosBed struct {
	*bed
	fault  atomic.Pointer[fault]
	socket *socketProxy
	load   *load
	// answered is when HAProxy's socket answered again, for rows where it was
	// away, and back when it had all nodes again.
	answered, back time.Time
	// note is what the table says beside the row's name.
	note string
}

func pause() { time.Sleep(20 * time.Millisecond) }

func newChaosBed(t *testing.T, mode string) *chaosBed {
	t.Helper()
	b := &chaosBed{bed: &bed{haproxy: startHAProxy(t, 40)}}
	for _, n := range append(append([]string{}, chaosNodes...), extras...) {
		startNode(t, n)
	}
	if mode == "watch" {
		b.startWatchedConsul(t)
	} else {
		b.consul = startConsul(t)
		b.socket = startSocketProxy(t, b.dir+"/admin.sock")
		address := lyingConsul(t, b.consul, func(w http.ResponseWriter, r *http.Request) bool {
			f := b.fault.Load()
			return f != nil && strings.HasPrefix(r.URL.Path, "/v1/health/service/") && (*f)(w, r)
		})
		b.config = b.writeHandlerConfig(t, address, b.dir+"/admin.sock]", b.socket.path+"]")
	}
	registerAll(t, b)
	if mode == "daemon" {
		b.run(t)
	}
	b.waitAll(t)
	return b
}

// startWatchedConsul starts a Consul that calls the handler for every event, as
// iri_lb_handler_mode watch does.
func (b *chaosBed) startWatchedConsul(t *testing.T) {
	t.Helper()
	build := exec.Command("go", "build", "-o", filepath.Join(bin, "iri-lb-handler-static"), "../../src/cmd/iri-lb-handler")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	config := b.dir + "/config.yml"
	b.consul = startConsulWith(t, []string{b.dir + ":" + b.dir}, "-hcl", fmt.Sprintf(
		`watches = [{type = "service", service = "iri", handler_type = "script", args = ["/scripts/iri-lb-handler-static", "sync", "--config", %q]}]`, config))
	b.config = b.writeHandlerConfig(t, b.consul.address)
}

// ready lists what is wrong with the slots of the nodes that always serve, and
// is empty when each is in exactly one, in service, with its values.
func (b *chaosBed) wrong() string {
	out, err := b.command("show servers state iri_back")
	if err != nil {
		return err.Error()
	}
	count := map[string]int{}
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) > 18 && f[1] == "iri_back" && f[6] == "4" && f[5] == "2" && f[7] == "1" {
			count[f[4]+":"+f[18]]++
		}
	}
	for _, n := range chaosNodes {
		if count[at(n)] != 1 {
			return fmt.Sprintf("%s is in service in %d slots", n, count[at(n)])
		}
	}
	return ""
}

func (b *chaosBed) waitAll(t *testing.T) {
	t.Helper()
	eventually(t, 60*time.Second, "every node is in service in one slot", func() error {
		if wrong := b.wrong(); wrong != "" {
			return fmt.Errorf("%s", wrong)
		}
		return nil
	})
}

// during puts the fault between the handler and Consul for some time.
func (b *chaosBed) during(t *testing.T, d time.Duration, f fault) {
	t.Helper()
	b.fault.Store(&f)
	b.toggle(t) // makes Consul answer the blocking query
	time.Sleep(d)
	b.fault.Store(nil)
}

// toggle changes an extra node, which Consul has to tell.
func (b *chaosBed) toggle(t *testing.T) {
	t.Helper()
	b.register(t, extras[0], extras[0], nodePort, fmt.Sprint("other=", time.Now().UnixNano()))
}

// churn makes extra nodes come, fail, return and go until the time is over.
func (b *chaosBed) churn(t *testing.T, d time.Duration) {
	t.Helper()
	require.NoError(t, b.disturb(d))
}

func (b *chaosBed) disturb(d time.Duration) error {
	for end, i := time.Now().Add(d), 0; time.Now().Before(end); i++ {
		n := extras[i%len(extras)]
		err := b.Agent().ServiceRegister(&api.AgentServiceRegistration{
			ID: n, Name: "iri", Address: n, Port: nodePort,
			Check: &api.AgentServiceCheck{CheckID: "service:" + n, TTL: "1h", Status: api.HealthPassing},
		})
		for _, status := range []string{api.HealthCritical, api.HealthPassing} {
			pause()
			if err == nil {
				err = b.Agent().UpdateTTL("service:"+n, "set by the test", status)
			}
		}
		pause()
		if err == nil && i%3 == 0 {
			err = b.Agent().ServiceDeregister(n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// kill ends a container at once.
func kill(t *testing.T, id string) {
	t.Helper()
	require.NoError(t, docker.Client.KillContainer(dc.KillContainerOptions{ID: id}))
}

func startAgain(t *testing.T, id string) {
	t.Helper()
	eventually(t, 20*time.Second, "the container starts again", func() error { return docker.Client.StartContainer(id, nil) })
}

// exec runs a shell command in a container.
func inContainer(t *testing.T, id, command string) {
	t.Helper()
	out, err := exec.Command("docker", "exec", id, "sh", "-c", command).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// restartHAProxy starts HAProxy again after the function has ended it, and
// measures how long after its socket's first answer all nodes are back.
func (b *chaosBed) restartHAProxy(t *testing.T, end func(id string)) {
	t.Helper()
	id := b.haproxy.container.Container.ID
	end(id)
	time.Sleep(time.Second)
	require.NoError(t, os.WriteFile(b.dir+"/srv.state", []byte("1\n"), 0o600))
	startAgain(t, id)
	for {
		if _, err := b.command("show info"); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	b.answered = time.Now()
	if b.daemon == nil { // what HAProxy's unit does
		code, log := runProgram(t, "iri-lb-handler", "sync", "--config", b.config)
		require.Zero(t, code, log)
	}
	for b.wrong() != "" {
		require.Less(t, time.Since(b.answered), 30*time.Second, b.wrong())
	}
	b.back = time.Now()
}

// inLine: the handler itself has nothing to change any more, be it an address, a
// weight, a limit, or a slot that serves a node which should not.
func (b *chaosBed) inLine(t *testing.T) {
	t.Helper()
	b.waitAll(t)
	config := b.writeHandlerConfig(t, b.consul.address)
	eventually(t, 20*time.Second, "nothing is left to change", func() error {
		if code, out := runProgram(t, "iri-lb-handler", "plan", "--config", config); code != 0 {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
}

// changeArrives is how long a failing node takes to leave.
func (b *chaosBed) changeArrives(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	n := extras[1]
	b.register(t, n, n, nodePort)
	b.set(t, n, api.HealthPassing)
	b.waitSlot(t, "iri_back", at(n), up)
	b.set(t, n, api.HealthCritical)
	b.waitSlot(t, "iri_back", at(n), out)
	return time.Since(began)
}

func TestChaos(t *testing.T) {
	var results []result
	for _, r := range rows {
		t.Run(strings.ReplaceAll(r.name+", "+r.mode, " ", "_"), func(t *testing.T) {
			seen := result{row: r}
			defer func() { results = append(results, seen) }()
			b := newChaosBed(t, r.mode)
			b.load = startLoad(b.url)
			time.Sleep(time.Second)
			r.do(t, b)
			if b.note != "" {
				seen.name += ": " + b.note
			}
			seen.change = b.changeArrives(t)
			time.Sleep(time.Second)
			b.inLine(t)
			b.load.stop()
			seen.sent, seen.lost = b.load.sent, b.load.between(t, b.back, time.Now())
			seen.back, seen.empty = b.back.Sub(b.answered), b.load.between(t, b.answered, b.back)
			seen.done = true
			if seen.lost > 0 && !r.careless {
				t.Errorf("%d of %d requests were lost", seen.lost, seen.sent)
			}
		})
	}
	writeReliability(t, results)
}
