//go:build integration

package chaos

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

func consulFails(t *testing.T, b *bed) {
	b.during(t, long, func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "rpc error", http.StatusInternalServerError)
		return true
	})
}

func consulWithoutLeader(t *testing.T, b *bed) {
	b.during(t, long, func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("X-Consul-Index", "1099511627776")
		w.Header().Set("X-Consul-Knownleader", "false")
		_, _ = w.Write([]byte("[]"))
		return true
	})
}

// emptyAgent: the agent knows no nodes, and the leader, which the guard's second query goes to, knows all.
func emptyAgent(t *testing.T, b *bed) {
	b.during(t, long, func(w http.ResponseWriter, r *http.Request) bool {
		if harness.IsConfirmation(r) {
			return false
		}
		harness.NoNodes(w, 1<<40)
		return true
	})
}

func cutAnswers(t *testing.T, b *bed) {
	b.during(t, long, func(w http.ResponseWriter, r *http.Request) bool {
		answer := askConsul(b.Consul.Address, r)
		copyHeader(w, answer)
		w.Header().Set("Content-Length", strconv.Itoa(answer.Body.Len()))
		_, _ = w.Write(answer.Body.Bytes()[:answer.Body.Len()/2])
		harness.ShortDelay()
		panic(http.ErrAbortHandler)
	})
}

func lowerIndex(t *testing.T, b *bed) {
	b.during(t, long, func(w http.ResponseWriter, r *http.Request) bool {
		q := r.URL.Query()
		q.Del("index")
		r.URL.RawQuery = q.Encode()
		answer := askConsul(b.Consul.Address, r)
		copyHeader(w, answer)
		w.Header().Set("X-Consul-Index", strconv.Itoa(1+rand.IntN(10)))
		_, _ = w.Write(answer.Body.Bytes())
		harness.ShortDelay()
		return true
	})
}

// askConsul repeats the handler's request, and returns Consul's answer.
func askConsul(address string, r *http.Request) *httptest.ResponseRecorder {
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

func copyHeader(w http.ResponseWriter, from *httptest.ResponseRecorder) {
	for key, values := range from.Header() {
		w.Header()[key] = values
	}
}

// halfOpen leaves a query without an answer until the handler gives up by itself: after a minute and a quarter.
func halfOpen(t *testing.T, b *bed) {
	var asked atomic.Bool
	b.during(t, long, func(_ http.ResponseWriter, r *http.Request) bool {
		asked.Store(true)
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	})
	require.True(t, asked.Load())
	b.Register(t, otherNodes[2], otherNodes[2], harness.NodePort)
	harness.Eventually(t, 2*time.Minute, "the handler asks again", func() error {
		if got := b.Slots(t, harness.Backend)[harness.At(otherNodes[2])]; got.Status != harness.Up.Status {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
}

// restartConsul kills Consul and starts it again. A shell command may change its data before.
func restartConsul(change string) func(*testing.T, *bed) {
	return func(t *testing.T, b *bed) {
		if change != "" {
			b.Consul.Container.Exec(t, change)
		}
		b.Consul.Container.Kill(t)
		b.Consul.Container.WaitStopped(t)
		harness.Keep(2 * time.Second) // how long it is down
		b.Consul.Container.StartAgain(t)
		b.WaitLeader(t)
	}
}

func emptyState(t *testing.T, b *bed) {
	restartConsul("rm -rf /tmp/consul")(t, b)
	harness.Keep(long) // under load
	assert.NoError(t, b.wrong(), "no node is registered, and all serve")
	b.registerHealthy(t)
}

// olderState takes Consul back to a time when it knew two of the nodes.
func olderState(t *testing.T, b *bed) {
	for _, n := range healthyNodes[2:] {
		require.NoError(t, b.Agent().ServiceDeregister(n))
	}
	harness.Eventually(t, 10*time.Second, "the catalog has two of them", func() error {
		entries, _, err := b.Health().Service("iri", "", false, nil)
		if err == nil && len(entries) != 2 {
			err = fmt.Errorf("%d", len(entries))
		}
		return err
	})
	b.Consul.Container.Exec(t, "cp -a /tmp/consul /tmp/older")
	b.registerHealthy(t)
	b.waitHealthy(t)
	restartConsul("rm -rf /tmp/consul && mv /tmp/older /tmp/consul")(t, b)
	harness.Keep(long) // under load
	assert.NoError(t, b.wrong(), "two nodes are registered, and all serve")
	b.registerHealthy(t)
}

// rotateToken gives the handler new tokens, and deletes the old ones: as it should be done, and once in the wrong order.
func rotateToken(t *testing.T, b *bed) {
	for range 3 {
		next := b.NewToken(t)
		b.writeToken(t, next)
		b.DeleteToken(t, b.token)
		b.token = next
		b.churn(t, 2*time.Second)
	}
	b.DeleteToken(t, b.token)
	b.churn(t, 2*time.Second)
	b.token = b.NewToken(t)
	b.writeToken(t, b.token)
}
