//go:build integration && chaos

package integration

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	dc "github.com/ory/dockertest/v3/docker"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// long is how long most faults last.
const long = 6 * time.Second

var rows = []row{
	{name: "nodes come, fail, return and go", mode: "daemon", do: func(t *testing.T, b *chaosBed) { b.churn(t, long) }},
	{name: "nodes come, fail, return and go", mode: "watch", do: func(t *testing.T, b *chaosBed) { b.churn(t, long) }},

	{name: "Consul answers 500", mode: "daemon", do: answers(func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "rpc error", http.StatusInternalServerError)
		return true
	})},
	{name: "Consul has no leader", mode: "daemon", do: answers(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("X-Consul-Index", "1099511627776")
		w.Header().Set("X-Consul-Knownleader", "false")
		_, _ = w.Write([]byte("[]"))
		return true
	})},
	{name: "Consul's agent answers with an empty list, its leader does not", mode: "daemon", do: answers(func(w http.ResponseWriter, r *http.Request) bool {
		if consistent(r) {
			return false
		}
		nothing(w, 1<<40)
		pause()
		return true
	})},
	{name: "Consul's answers are cut off in the middle", mode: "daemon", do: func(t *testing.T, b *chaosBed) {
		b.during(t, long, cutAnswers(b.consul.address))
	}},
	{name: "Consul's index goes back", mode: "daemon", do: func(t *testing.T, b *chaosBed) {
		b.during(t, long, lowerIndex(b.consul.address))
	}},
	{name: "a half-open connection to Consul", mode: "daemon", do: halfOpen},
	{name: "Consul killed, started again", mode: "daemon", do: restartConsul("")},
	{name: "Consul killed, started again", mode: "watch", do: restartConsul("")},
	{name: "Consul killed, started again with an empty state", mode: "daemon", do: func(t *testing.T, b *chaosBed) {
		restartConsul("rm -rf /tmp/consul")(t, b)
		time.Sleep(long)
		assert.Empty(t, b.wrong(), "nobody is registered, and all serve")
		registerAll(t, b)
	}},
	{name: "Consul killed, started again with an older state", mode: "daemon", do: olderState},

	{name: "HAProxy reloaded five times (`iri-lb-handler reload`)", mode: "daemon", do: reloads},
	{name: "HAProxy reloaded five times (`iri-lb-handler reload`)", mode: "watch", do: reloads},
	{name: "HAProxy reloaded by hand (SIGUSR2), which nobody should do", mode: "daemon", careless: true, do: func(t *testing.T, b *chaosBed) {
		require.NoError(t, docker.Client.KillContainer(dc.KillContainerOptions{ID: b.haproxy.container.Container.ID, Signal: dc.SIGUSR2}))
		time.Sleep(2 * time.Second)
	}},
	{name: "HAProxy's container killed, started again", mode: "daemon", away: true, do: func(t *testing.T, b *chaosBed) {
		b.restartHAProxy(t, func(id string) { kill(t, id) })
	}},
	{name: "HAProxy's container killed, started again", mode: "watch", away: true, do: func(t *testing.T, b *chaosBed) {
		b.restartHAProxy(t, func(id string) { kill(t, id) })
	}},
	{name: "HAProxy's worker killed", mode: "daemon", away: true, do: func(t *testing.T, b *chaosBed) {
		b.restartHAProxy(t, func(string) {
			info, err := b.command("show info")
			require.NoError(t, err)
			inContainer(t, b.haproxy.container.Container.ID, "kill -9 "+field(info, "Pid"))
			eventually(t, 10*time.Second, "the master has ended", func() error {
				c, err := docker.Client.InspectContainer(b.haproxy.container.Container.ID)
				if err == nil && c.State.Running {
					return assert.AnError
				}
				return err
			})
		})
	}},
	{name: "HAProxy's socket is missing", mode: "daemon", do: func(t *testing.T, b *chaosBed) {
		require.NoError(t, os.Rename(b.dir+"/admin.sock", b.dir+"/away.sock"))
		b.socket.cut.Store(1) // and the connection that is open ends
		b.toggle(t)
		time.Sleep(long)
		b.socket.cut.Store(0)
		require.NoError(t, os.Rename(b.dir+"/away.sock", b.dir+"/admin.sock"))
	}},
	{name: "HAProxy's socket hangs", mode: "daemon", do: func(t *testing.T, b *chaosBed) {
		b.socket.hang.Store(true)
		b.churn(t, long)
		b.socket.hang.Store(false)
	}},
	{name: "HAProxy's answers are cut off in the middle", mode: "daemon", do: func(t *testing.T, b *chaosBed) {
		for end := time.Now().Add(long); time.Now().Before(end); {
			b.socket.cut.Store(1 + rand.Int64N(20000))
			b.churn(t, 100*time.Millisecond)
		}
		b.socket.cut.Store(0)
	}},
	{name: "the handler's clock jumps an hour ahead, and two hours back", mode: "daemon", do: jumpingClock},
	{name: "the disk is full at a reload", mode: "daemon", do: fullDisk},

	{name: "the handler killed (-9) at 200 random points", mode: "daemon", do: killedHandlers},
	{name: "two handlers at once", mode: "daemon", do: func(t *testing.T, b *chaosBed) {
		second := b.writeHandlerConfig(t, b.consul.address)
		other := start(t, "iri-lb-handler", "run", "--config", second)
		b.churn(t, 2*long)
		other.stop(syscall.SIGTERM)
	}},
	{name: "200 changes a second for a minute", mode: "daemon", do: manyChanges},
}

// halfOpen keeps a question that will never be answered, until the handler gives
// up by itself: after a minute and a quarter.
func halfOpen(t *testing.T, b *chaosBed) {
	var asked atomic.Bool
	b.during(t, long, func(_ http.ResponseWriter, r *http.Request) bool {
		asked.Store(true)
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	})
	require.True(t, asked.Load())
	b.register(t, extras[2], extras[2], nodePort)
	eventually(t, 2*time.Minute, "the handler asks anew", func() error {
		if got := b.slots(t, "iri_back")[at(extras[2])]; got.status != up.status {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
}

// answers is a row in which Consul's answers are replaced.
func answers(f fault) func(*testing.T, *chaosBed) {
	return func(t *testing.T, b *chaosBed) { b.during(t, long, f) }
}

// real asks Consul what the handler asked, and returns its answer.
func real(address string, r *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, address+r.URL.RequestURI(), nil)
	if err != nil {
		panic(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer func() { _ = resp.Body.Close() }()
	for key, values := range resp.Header {
		rec.Header()[key] = values
	}
	_, _ = rec.Body.ReadFrom(resp.Body)
	return rec
}

func cutAnswers(address string) fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		answer := real(address, r)
		for key, values := range answer.Header() {
			w.Header()[key] = values
		}
		w.Header().Set("Content-Length", strconv.Itoa(answer.Body.Len()))
		_, _ = w.Write(answer.Body.Bytes()[:answer.Body.Len()/2])
		pause()
		panic(http.ErrAbortHandler)
	}
}

func lowerIndex(address string) fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		q := r.URL.Query()
		q.Del("index")
		r.URL.RawQuery = q.Encode()
		answer := real(address, r)
		for key, values := range answer.Header() {
			w.Header()[key] = values
		}
		w.Header().Set("X-Consul-Index", strconv.Itoa(1+rand.IntN(10)))
		_, _ = w.Write(answer.Body.Bytes())
		pause()
		return true
	}
}

func registerAll(t *testing.T, b *chaosBed) {
	t.Helper()
	for _, n := range chaosNodes {
		b.registerScript(t, n, n, nodePort)
	}
}

// restartConsul kills Consul and starts it again, with its data changed before.
func restartConsul(change string) func(*testing.T, *chaosBed) {
	return func(t *testing.T, b *chaosBed) {
		id := b.consul.container.Container.ID
		if change != "" {
			inContainer(t, id, change)
		}
		kill(t, id)
		time.Sleep(2 * time.Second)
		startAgain(t, id)
		b.waitLeader(t)
	}
}

// olderState takes Consul back to a time when it knew two of the nodes.
func olderState(t *testing.T, b *chaosBed) {
	id := b.consul.container.Container.ID
	for _, n := range chaosNodes[2:] {
		require.NoError(t, b.Agent().ServiceDeregister(n))
	}
	time.Sleep(time.Second)
	inContainer(t, id, "cp -a /tmp/consul /tmp/older")
	registerAll(t, b)
	b.waitAll(t)
	restartConsul("rm -rf /tmp/consul && mv /tmp/older /tmp/consul")(t, b)
	time.Sleep(long)
	assert.Empty(t, b.wrong(), "two are registered, and all serve")
	registerAll(t, b)
}

func reloads(t *testing.T, b *chaosBed) {
	for range 5 {
		code, log := runProgram(t, "iri-lb-handler", "reload", "--config", b.config)
		require.Zero(t, code, log)
		b.churn(t, time.Second)
	}
}

// fullDisk makes a reload fail because its files cannot be written.
func fullDisk(t *testing.T, b *chaosBed) {
	dir := filepath.Join(b.dir, "full")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"))
	defer func() { require.NoError(t, syscall.Unmount(dir, 0)) }()
	filler := filepath.Join(dir, "filler")
	_ = os.WriteFile(filler, make([]byte, 1<<20), 0o600) // as much as fits
	config := b.writeHandlerConfig(t, b.consul.address, "state_file: "+b.dir, "state_file: "+dir)
	code, log := runProgram(t, "iri-lb-handler", "reload", "--config", config)
	assert.Equal(t, 1, code, log)
	assert.Contains(t, log, "no space left on device")
	require.NoError(t, os.Remove(filler))
	code, log = runProgram(t, "iri-lb-handler", "reload", "--config", b.writeHandlerConfig(t, b.consul.address))
	assert.Zero(t, code, log)
}

func killedHandlers(t *testing.T, b *chaosBed) {
	b.daemon.stop(syscall.SIGKILL)
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
				if err := b.disturb(200 * time.Millisecond); err != nil {
					done <- err
					return
				}
			}
		}
	}()
	for range 200 {
		p := start(t, "iri-lb-handler", "run", "--config", b.config)
		time.Sleep(time.Duration(rand.IntN(120)) * time.Millisecond)
		p.stop(syscall.SIGKILL)
	}
	close(stop)
	require.NoError(t, <-done)
	b.run(t)
}

// manyChanges lets 20 nodes beside the six fail and return, 200 times a second if
// Consul takes that many.
func manyChanges(t *testing.T, b *chaosBed) {
	var crowd []string
	for i := range 20 {
		n := many(i)
		crowd = append(crowd, n)
		startNode(t, n)
	}
	for _, n := range crowd {
		b.register(t, n, n, nodePort)
	}
	var group sync.WaitGroup
	var changes atomic.Int64
	for _, n := range crowd {
		group.Go(func() {
			ticker := time.NewTicker(time.Duration(len(crowd)) * 5 * time.Millisecond)
			defer ticker.Stop()
			for end, i := time.Now().Add(time.Minute), 0; time.Now().Before(end); i++ {
				<-ticker.C
				if b.Agent().UpdateTTL("service:"+n, "set by the test", []string{api.HealthCritical, api.HealthPassing}[i%2]) == nil {
					changes.Add(1)
				}
			}
		})
	}
	group.Wait()
	b.note = fmt.Sprintf("%d were made", changes.Load())
	require.Greater(t, changes.Load(), int64(100*60), "not even half of the changes were made")
}
