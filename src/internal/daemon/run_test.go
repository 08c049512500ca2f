package daemon

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iritest"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/logtest"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
)

// newDaemon is one of a Consul with one node and without ACLs, and of HAProxies that do not run.
func newDaemon(t *testing.T, sockets int) (*Daemon, *logtest.Buffer) {
	t.Helper()
	return newDaemonOf(t, sockets, `{"Node":{"Node":"n","Address":"10.0.0.9"},"Service":{"ID":"a","Address":"10.0.0.1","Port":1,"Tags":["haproxy.color=red"],`+
		`"Weights":{"Passing":1,"Warning":1}},"Checks":[{"Status":"passing"}]}`)
}

// newDaemonOf is one of a Consul with a service.
func newDaemonOf(t *testing.T, sockets int, service string) (*Daemon, *logtest.Buffer) {
	t.Helper()
	consul := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/acl/token/self" {
			http.Error(w, "ACL support disabled", http.StatusUnauthorized)
			return
		}
		if r.URL.Query().Get("index") == "9" {
			<-r.Context().Done()
			return
		}
		w.Header().Set("X-Consul-Index", "9")
		w.Header().Set("X-Consul-KnownLeader", "true")
		_, _ = io.WriteString(w, "["+service+"]")
	}))
	t.Cleanup(consul.Close)
	cfg := DefaultConfig()
	cfg.Consul.Address, cfg.Listen = consul.URL, "127.0.0.1:0"
	cfg.NodesFile = filepath.Join(t.TempDir(), "nodes.json")
	cfg.HAProxy.AdminSockets = nil
	for i := range sockets {
		cfg.HAProxy.AdminSockets = append(cfg.HAProxy.AdminSockets, filepath.Join(t.TempDir(), fmt.Sprint(i)+".sock"))
	}
	log := &logtest.Buffer{}
	d, err := New(cfg, hclog.New(&hclog.LoggerOptions{Output: log}), clockwork.NewRealClock())
	require.NoError(t, err)
	return d, log
}

// serveDaemon runs the daemon on a port of its own.
func serveDaemon(t *testing.T, d *Daemon) (listener net.Listener, stop func(), ended chan error) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended = make(chan error, 1)
	go func() { ended <- d.serve(ctx, listener) }()
	return listener, cancel, ended
}

func get(t *testing.T, listener net.Listener, path string) (int, string) {
	t.Helper()
	resp, err := http.Get("http://" + listener.Addr().String() + path)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

func TestTheDaemonSaysWhatIsMissingAndStopsWithItsContext(t *testing.T) {
	d, log := newDaemon(t, 2)
	listener, stop, ended := serveDaemon(t, d)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		status, body := get(t, listener, "/readyz")
		assert.Equal(c, http.StatusServiceUnavailable, status)
		for _, path := range d.cfg.HAProxy.AdminSockets {
			assert.Contains(c, body, "HAProxy at "+path+": connect to HAProxy: dial unix "+path+": connect: no such file or directory (HAProxy does not run, or")
		}
		assert.NotContains(c, body, "Consul:")
	}, 10*time.Second, 10*time.Millisecond)
	status, body := get(t, listener, "/healthz")
	assert.Equal(t, "200 ok\n", fmt.Sprint(status, " ", body))
	_, body = get(t, listener, "/metrics")
	for _, line := range []string{
		"iri_lb_handler_consul_index 9", "iri_lb_handler_registry_problems 1", `iri_lb_handler_guard_total{result="refuted"} 0`,
		`iri_lb_handler_drift_total{pool="pow"} 0`,
		`iri_lb_handler_operations_total{pool="default",result="error"} 0`,
		`iri_lb_handler_passes_total{result="ok",socket="` + d.cfg.HAProxy.AdminSockets[0] + `"} 0`, `iri_lb_handler_last_success_timestamp_seconds{socket="` + d.cfg.HAProxy.AdminSockets[1] + `"} 0`,
	} {
		assert.Contains(t, body, line+"\n")
	}
	stop()
	require.NoError(t, <-ended)
	assert.Contains(t, log.String(), "stopping; HAProxy keeps its slots as they are")
}

func TestWhenThePartsOfTheDaemonEndSoDoesTheDaemonAndSaysWhichItWas(t *testing.T) {
	d, _ := newDaemon(t, 1)
	listener, _, stopped := serveDaemon(t, d)
	require.NoError(t, listener.Close())
	select {
	case err := <-stopped:
		require.ErrorContains(t, err, "the HTTP server has stopped")
	case <-time.After(10 * time.Second):
		t.Fatal("it goes on without its HTTP server")
	}
	require.EqualError(t, ended("the watch of Consul", t.Context()), "the watch of Consul has stopped")
}

func TestAPortThatSomebodyElseHasIsNamed(t *testing.T) {
	d, _ := newDaemon(t, 1)
	other, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = other.Close() }()
	d.cfg.Listen = other.Addr().String()
	require.ErrorContains(t, d.Run(t.Context()), "listen for /metrics (key listen of the configuration): listen tcp "+d.cfg.Listen)
}

func TestCommandsNeedHAProxyAndSayWhichSocketTheyTried(t *testing.T) {
	d, _ := newDaemon(t, 2)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := d.Sync(ctx)
	for _, path := range d.cfg.HAProxy.AdminSockets {
		require.ErrorContains(t, err, path)
	}
	var out strings.Builder
	_, err = d.Plan(t.Context(), &out)
	require.ErrorContains(t, err, d.cfg.HAProxy.AdminSockets[0])
	assert.Contains(t, out.String(), "problem with a, tag haproxy.color=red: unknown key")
	st, err := d.Status(t.Context())
	require.Error(t, err)
	require.Len(t, st.HAProxy, 2)
	assert.Contains(t, st.HAProxy[1].Error, d.cfg.HAProxy.AdminSockets[1])
	assert.Equal(t, uint64(9), st.Consul.Index)
	assert.Len(t, st.Consul.Problems, 1)
	require.ErrorContains(t, d.Reload(t.Context(), nil), "save HAProxy's slots before the reload")
}

func TestStatusWithoutConsulIsThereAllTheSame(t *testing.T) {
	d, _ := newDaemon(t, 1)
	broken := d.cfg
	broken.Consul.Address = "http://127.0.0.1:1"
	d, err := New(broken, hclog.NewNullLogger(), clockwork.NewRealClock())
	require.NoError(t, err)
	st, err := d.Status(t.Context())
	require.Error(t, err)
	assert.Contains(t, st.Consul.Error, "query Consul for service \"iri\"")
	_, err = d.Plan(t.Context(), io.Discard)
	require.Error(t, err)
}

func TestStatusWithoutConsulShowsTheListOnTheDisk(t *testing.T) {
	d, _ := newDaemon(t, 1)
	require.NoError(t, os.WriteFile(d.cfg.NodesFile, []byte(`{"format":1,"service":"iri","index":5,"nodes":[]}`), 0o600))
	d.cfg.Consul.Address = "http://127.0.0.1:1"
	d, err := New(d.cfg, hclog.NewNullLogger(), clockwork.NewRealClock())
	require.NoError(t, err)
	st, err := d.Status(t.Context())
	require.Error(t, err)
	assert.Equal(t, d.cfg.NodesFile, st.Consul.FromDisk)
	assert.Equal(t, uint64(5), st.Consul.Index)
}

func TestTheDaemonChecksTheNodesOfTheCatalog(t *testing.T) {
	fake := iritest.NewServer()
	defer fake.Close()
	addr := netip.MustParseAddrPort(strings.TrimPrefix(fake.URL, "http://"))
	d, log := newDaemonOf(t, 1, fmt.Sprintf(`{"Node":{"Node":"iri-nodes"},"Service":{"ID":"a","Address":%q,"Port":%d,"Meta":{"iri-check":"skip-limited=true"}}}`,
		addr.Addr(), addr.Port()))
	d.cfg.HAProxy.CAFile = "/nowhere/ca.pem" // as HAProxy sees the path
	saved := fmt.Sprintf(`{"format":1,"service":"iri","index":5,"nodes":[{"id":"a","address":%q,"kind":"http","health":"critical","weight":1,`+
		`"pools":["default"],"check":{"options":"skip-limited=true","interval":"30s"}}]}`, addr)
	require.NoError(t, os.WriteFile(d.cfg.NodesFile, []byte(saved), 0o600))
	listener, stop, ended := serveDaemon(t, d)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, body := get(t, listener, "/metrics")
		assert.Contains(c, body, `iri_lb_handler_node_checks_total{verdict="passing"} 1`)
	}, 10*time.Second, 10*time.Millisecond)
	assert.Contains(t, log.String(), "the system's certificate authorities verify nodes of the catalog instead of haproxy.ca_file")
	stop()
	require.NoError(t, <-ended)
}

func TestACertificateThatCannotBeReadChangesNothing(t *testing.T) {
	cfg := DefaultConfig()
	cfg.HAProxy.Certificate = filepath.Join(t.TempDir(), "certkey.pem")
	err := ReplaceCertificate(t.Context(), cfg, hclog.NewNullLogger(), "/nowhere/cert.pem", "/nowhere/key.pem")
	require.ErrorContains(t, err, "/nowhere/cert.pem")
	_, err = os.Stat(cfg.HAProxy.Certificate)
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestALoopThatIsSilentForTooLongIsNoticed(t *testing.T) {
	clock := clockwork.NewFakeClock()
	h := newHeartbeats(clock, 2)
	h.beat(0)
	clock.Advance(stuck)
	h.beat(1)
	clock.Advance(time.Second)
	assert.Equal(t, stuck+time.Second, h.silence(), "the one that is silent longest counts")
	h.beat(0)
	assert.Equal(t, time.Second, h.silence())
}

func TestHealthzSaysThatALoopIsStuck(t *testing.T) {
	clock := clockwork.NewFakeClock()
	d, _ := newDaemon(t, 1)
	h := newHeartbeats(clock, 1)
	clock.Advance(stuck + time.Second)
	w := httptest.NewRecorder()
	d.routes(h).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", nil))
	assert.Equal(t, http.StatusServiceUnavailable, w.Code)
	assert.Contains(t, w.Body.String(), "the loop has not turned for 46s")
}

func TestAProbeIsTheNodesOwnAnswer(t *testing.T) {
	answer := http.StatusOK
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.NotEmpty(t, r.Header.Get("X-IOTA-API-Version"))
		w.WriteHeader(answer)
		_, _ = io.WriteString(w, `{"appName":"IRI"}`)
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600))
	in := func(s *httptest.Server, tls pool.TLS) pool.In {
		return pool.In{Addr: netip.MustParseAddrPort(s.Listener.Addr().String()), TLS: tls}
	}
	ask := probe(ca)
	require.NoError(t, ask(t.Context(), in(plain, pool.Plain)))
	require.NoError(t, ask(t.Context(), in(secure, pool.Unverified)))
	require.NoError(t, ask(t.Context(), in(secure, pool.Verified)))
	require.Error(t, probe("")(t.Context(), in(secure, pool.Verified)), "the system does not know this authority")
	require.Error(t, probe("/nowhere")(t.Context(), in(secure, pool.Verified)))
	require.Error(t, ask(t.Context(), in(plain, pool.Unverified)))
	answer = http.StatusInternalServerError
	require.Error(t, ask(t.Context(), in(plain, pool.Plain)))
}
