//go:build integration

package integration

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// crowd are more nodes than the guard lets go on one answer.
var crowd = []string{"127.0.1.1", "127.0.1.2", "127.0.1.3", "127.0.1.4"}

// lyingConsul stands between the handler and Consul. What lie answers itself is
// not passed on.
func lyingConsul(t *testing.T, c *consul, lie func(w http.ResponseWriter, r *http.Request) bool) string {
	t.Helper()
	to, err := url.Parse(c.address)
	require.NoError(t, err)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
		http.Error(w, err.Error(), http.StatusBadGateway)
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !lie(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

// nothing is a plausible answer without any node.
func nothing(w http.ResponseWriter, index uint64) {
	w.Header().Set("X-Consul-Index", fmt.Sprint(index))
	w.Header().Set("X-Consul-Knownleader", "true")
	w.Header().Set("X-Consul-Lastcontact", "0")
	_, _ = w.Write([]byte("[]"))
}

// consistent is how the guard asks.
func consistent(r *http.Request) bool { return r.URL.Query().Has("consistent") }

// crowdBed has the crowd in service behind the given lie, which begins when the
// returned switch is set.
func crowdBed(t *testing.T, lie func(w http.ResponseWriter, r *http.Request) bool) (*bed, *atomic.Bool) {
	t.Helper()
	var lying atomic.Bool
	b := &bed{consul: startConsul(t), haproxy: startHAProxy(t, 20)}
	b.config = b.writeHandlerConfig(t, lyingConsul(t, b.consul, func(w http.ResponseWriter, r *http.Request) bool {
		return lying.Load() && strings.HasPrefix(r.URL.Path, "/v1/health/service/") && lie(w, r)
	}))
	for _, n := range crowd {
		startNode(t, n)
		b.register(t, n, n, nodePort)
	}
	b.run(t)
	b.waitCrowd(t)
	return b, &lying
}

func (b *bed) waitCrowd(t *testing.T) {
	t.Helper()
	for _, n := range crowd {
		b.waitSlot(t, "iri_back", at(n), up)
	}
}

// wake makes Consul answer the blocking query, by a change that means nothing.
func (b *bed) wake(t *testing.T) {
	t.Helper()
	b.register(t, crowd[0], crowd[0], nodePort, fmt.Sprint("other=", time.Now().UnixNano()))
}

func (b *bed) waitLog(t *testing.T, text string) {
	t.Helper()
	eventually(t, 10*time.Second, "the log says "+text, func() error {
		if !strings.Contains(b.daemon.log.String(), text) {
			return fmt.Errorf("it does not")
		}
		return nil
	})
}

func TestAnEmptyAnswerThatConsulDoesNotConfirmRemovesNothing(t *testing.T) {
	b, lying := crowdBed(t, func(w http.ResponseWriter, r *http.Request) bool {
		if consistent(r) {
			return false
		}
		nothing(w, 1<<40)
		time.Sleep(50 * time.Millisecond)
		return true
	})
	tr := startTraffic(t, b.url)
	lying.Store(true)
	b.wake(t)
	b.waitLog(t, "result=refuted")
	lying.Store(false)
	tr.stop(t)
	b.waitCrowd(t)
}

func TestNothingIsRemovedWhileASuspiciousAnswerCannotBeConfirmed(t *testing.T) {
	b, lying := crowdBed(t, func(w http.ResponseWriter, r *http.Request) bool {
		if consistent(r) {
			http.Error(w, "no cluster leader", http.StatusInternalServerError)
			return true
		}
		nothing(w, 1<<40)
		time.Sleep(50 * time.Millisecond)
		return true
	})
	tr := startTraffic(t, b.url)
	lying.Store(true)
	b.wake(t)
	b.waitLog(t, "they are kept in service")
	time.Sleep(2500 * time.Millisecond) // a resync, and another question
	b.waitCrowd(t)
	assert.Contains(t, b.readyz(t), "Consul does not confirm it")
	lying.Store(false)
	b.waitLog(t, "against Consul's word any more")
	tr.stop(t)
}

func TestNodesAreKeptWhenConsulHasLostItsPast(t *testing.T) {
	b, lying := crowdBed(t, func(w http.ResponseWriter, _ *http.Request) bool {
		nothing(w, 3)
		time.Sleep(50 * time.Millisecond)
		return true
	})
	tr := startTraffic(t, b.url)
	lying.Store(true)
	b.wake(t)
	b.waitLog(t, "it has lost its past")
	b.waitLog(t, "they are kept in service")
	time.Sleep(2500 * time.Millisecond)
	tr.stop(t)
	b.waitCrowd(t)
}

func TestAMassFailureThatIsConfirmedIsApplied(t *testing.T) {
	b, _ := crowdBed(t, func(http.ResponseWriter, *http.Request) bool { return false })
	b.daemon.stop(syscall.SIGTERM)
	for _, n := range crowd {
		b.set(t, n, api.HealthCritical)
	}
	b.run(t)
	for _, n := range crowd {
		b.waitSlot(t, "iri_back", at(n), out)
	}
	assert.Contains(t, b.daemon.log.String(), "result=confirmed")
}

func (b *bed) readyz(t *testing.T) string {
	t.Helper()
	_, body := b.get(t, "/readyz")
	return body
}
