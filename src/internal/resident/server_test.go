package resident

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iri"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/iritest"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

// consul is a registry controlled by the test.
type consul struct {
	mu      sync.Mutex
	index   uint64
	addrs   []netip.AddrPort
	err     error
	changed chan struct{}
	// failed is how many queries have failed.
	failed atomic.Int32
}

func newConsul(addrs ...string) *consul {
	c := &consul{changed: make(chan struct{})}
	c.set(nil, addrs...)
	return c
}

// set changes the registered addresses, or makes queries fail.
func (c *consul) set(err error, addrs ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err, c.addrs = err, nil
	for _, a := range addrs {
		c.addrs = append(c.addrs, netip.MustParseAddrPort(a))
	}
	c.index++
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *consul) Fetch(ctx context.Context, index uint64) (registry.Snapshot, error) {
	for {
		c.mu.Lock()
		changed, err, current := c.changed, c.err, c.index
		snap := registry.Snapshot{Index: current}
		for _, a := range c.addrs {
			snap.Nodes = append(snap.Nodes, registry.Node{Node: pool.Node{Addr: a}})
		}
		c.mu.Unlock()
		if err != nil {
			c.failed.Add(1)
			return snap, err
		}
		if current != index {
			return snap, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return registry.Snapshot{}, ctx.Err()
		}
	}
}

// hostPort is the address and port of a node.
func hostPort(node *iritest.Server) string { return strings.TrimPrefix(node.URL, "http://") }

// serve starts a server for this registry and returns its URL.
func serve(t *testing.T, reg Registry, atOnce int) string {
	t.Helper()
	catalog := NewCatalog(reg, "", hclog.NewNullLogger())
	catalog.gracePeriod = time.Second
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { catalog.Run(ctx) })
	server := httptest.NewServer(NewServer(catalog, iri.Options{}, atOnce))
	t.Cleanup(func() { server.Close(); cancel(); group.Wait() })
	return server.URL
}

// get sends a request and returns the status and the body.
func get(t *testing.T, address string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(text)
}

func check(t *testing.T, server, query string) (int, string) {
	t.Helper()
	return get(t, server+"/check?"+query)
}

func TestVerdictsAreTheStatusesThatConsulExpects(t *testing.T) {
	node := iritest.NewServer()
	defer node.Close()
	server := serve(t, newConsul(hostPort(node)), 8)
	query := "address=" + node.URL + "&skip-limited=true"

	status, text := check(t, server, query)
	assert.Equal(t, 200, status)
	assert.Equal(t, "OK: IRI 1.8.6, synchronised, 2 neighbours or more\n", text)

	node.Update(func(s *iritest.State) { s.Snapshot = s.Milestone })
	status, text = check(t, server, query)
	assert.Equal(t, 429, status)
	assert.Contains(t, text, "WARNING: "+node.URL+": no milestone after the snapshot is solid")

	node.Update(func(s *iritest.State) { s.Behind = 5 })
	status, text = check(t, server, query)
	assert.Equal(t, 503, status)
	assert.Contains(t, text, "CRITICAL: "+node.URL+": not synchronised")

	status, text = check(t, server, "address="+node.URL+"&pow=true&max-behind=5")
	assert.Equal(t, 503, status)
	assert.Contains(t, text, "PoW is not allowed")
	assert.Equal(t, 1, node.Count("addNeighbors"), "the keys of the query are the names of the flags")
}

func TestOnlyRegisteredAddressesAreContacted(t *testing.T) {
	node, other := iritest.NewServer(), iritest.NewServer()
	t.Cleanup(node.Close)
	t.Cleanup(other.Close)
	server := serve(t, newConsul(hostPort(node), "[::1]:14265", "10.0.0.1:80"), 8)
	_, port, err := net.SplitHostPort(hostPort(node))
	require.NoError(t, err)
	_, otherPort, err := net.SplitHostPort(hostPort(other))
	require.NoError(t, err)
	for _, tt := range []struct {
		name, address string
		status        int
		text          string
	}{
		{"unregistered port of a registered host", "http://127.0.0.1:" + otherPort, 403, "is not registered in Consul"},
		{"unregistered host with a registered port", "http://127.0.0.2:" + port, 403, "127.0.0.2:" + port + " is not registered in Consul"},
		{"default port 80", "http://127.0.0.1", 403, "127.0.0.1:80 is not registered"},
		{"default port 443", "https://10.0.0.1", 403, "10.0.0.1:443 is not registered"},
		{"name, which may resolve differently next time", "http://localhost:" + port, 403, "is not an IP address"},
		{"name with a trailing dot", "http://localhost.:" + port, 403, "is not an IP address"},
		{"name of a foreign domain", "http://127.0.0.1.evil.example:" + port, 403, "is not an IP address"},
		{"shortened IPv4", "http://127.1:" + port, 403, "is not an IP address"},
		{"decimal IPv4", "http://2130706433:" + port, 403, "is not an IP address"},
		{"hexadecimal IPv4", "http://0x7f000001:" + port, 403, "is not an IP address"},
		{"octal IPv4", "http://0177.0.0.1:" + port, 403, "is not an IP address"},
		{"leading zeros", "http://127.000.000.001:" + port, 403, "is not an IP address"},
		{"registered address as user name", "http://127.0.0.1:" + port + "@127.0.0.1:" + otherPort, 403, "is not registered in Consul"},
		{"registered address as password", "http://x:127.0.0.1:" + port + "@127.0.0.1:" + otherPort, 403, "is not registered in Consul"},
		{"a zone", "http://[::1%25lo]:14265", 403, "is not an IP address"},
		{"unspecified address", "http://0.0.0.0:" + port, 403, "is not registered"},
		{"no address", "", 400, "address: the address of the node is missing; write for example address=http://10.10.0.110:14265"},
		{"other scheme", "file:///etc/passwd", 400, "neither http:// nor https://"},
		{"invalid port", "http://127.0.0.1:99999", 400, "not between 1 and 65535"},
		{"address with a query", node.URL + "/?x", 400, `no query ("?")`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, text := check(t, server, "address="+url.QueryEscape(tt.address))
			assert.Equal(t, tt.status, status, text)
			assert.Contains(t, text, tt.text)
		})
	}
	t.Cleanup(func() {
		assert.Empty(t, node.Counters())
		assert.Empty(t, other.Counters())
	})
}

func TestEquivalentAddressesAreRegisteredToo(t *testing.T) {
	node := iritest.NewServer()
	defer node.Close()
	server := serve(t, newConsul(hostPort(node)), 8)
	_, port, err := net.SplitHostPort(hostPort(node))
	require.NoError(t, err)
	for _, address := range []string{node.URL + "/", "http://[::ffff:127.0.0.1]:" + port, "http://user:secret@" + hostPort(node)} {
		status, text := check(t, server, "skip-limited=true&address="+url.QueryEscape(address))
		assert.Equal(t, 200, status, text)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := iritest.NewServer()
	defer elsewhere.Close()
	node := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer node.Close()
	server := serve(t, newConsul(strings.TrimPrefix(node.URL, "http://"), hostPort(elsewhere)), 8)
	status, text := check(t, server, "address="+node.URL)
	assert.Equal(t, 503, status)
	assert.Contains(t, text, "a redirect, which is not followed")
	assert.Empty(t, elsewhere.Counters())
}

func TestOnlyDirectRequestsFromLoopbackAreServed(t *testing.T) {
	server := NewServer(NewCatalog(newConsul(), "", hclog.NewNullLogger()), iri.Options{}, 1)
	for _, tt := range []struct {
		name, remote, host, forwarded, method, path string
		status                                      int
	}{
		{"loopback", "127.0.0.1:5", "127.0.0.1:9295", "", "GET", "/healthz", 200},
		{"loopback, IPv6", "[::1]:5", "[::1]:9295", "", "GET", "/healthz", 200},
		{"localhost", "127.0.0.1:5", "localhost:9295", "", "GET", "/healthz", 200},
		{"IPv4-mapped IPv6", "[::ffff:127.0.0.1]:5", "127.0.0.1:9295", "", "GET", "/healthz", 200},
		{"other host", "192.0.2.1:5", "127.0.0.1:9295", "", "GET", "/healthz", 403},
		{"other name with a loopback address", "127.0.0.1:5", "evil.example:9295", "", "GET", "/healthz", 403},
		{"name that starts with localhost", "127.0.0.1:5", "localhost.evil.example:9295", "", "GET", "/healthz", 403},
		{"no port", "127.0.0.1:5", "127.0.0.1", "", "GET", "/healthz", 403},
		{"through a proxy", "127.0.0.1:5", "127.0.0.1:9295", "192.0.2.1", "GET", "/healthz", 403},
		{"other method", "127.0.0.1:5", "127.0.0.1:9295", "", "POST", "/check", 405},
		{"other path", "127.0.0.1:5", "127.0.0.1:9295", "", "GET", "/", 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), tt.method, tt.path, nil)
			r.RemoteAddr, r.Host = tt.remote, tt.host
			if tt.forwarded != "" {
				r.Header.Set("X-Forwarded-For", tt.forwarded)
			}
			w := httptest.NewRecorder()
			server.ServeHTTP(w, r)
			assert.Equal(t, tt.status, w.Code)
		})
	}
}

func TestInvalidQueriesNameTheKey(t *testing.T) {
	server := serve(t, newConsul("127.0.0.1:1"), 8)
	for query, want := range map[string]string{
		"adress=http://127.0.0.1:1":                              `unknown key "adress" (known: address, timeout,`,
		"address=http://127.0.0.1:1&pow=yes":                     `pow="yes" is neither true nor false`,
		"address=http://127.0.0.1:1&pow=true&pow=true":           "the key pow occurs 2 times",
		"address=http://127.0.0.1:1&min-neighbours=two":          `min-neighbours "two" is not a number of neighbours; write for example min-neighbours=2`,
		"address=http://127.0.0.1:1&ca-file=/etc/shadow":         `unknown key "ca-file"`,
		"address=http://127.0.0.1:1&max-answer=1;pow=true":       "the query is malformed",
		"address=http://127.0.0.1:1&warn-behind=2":               "warn-behind 2 is more than max-behind 1",
		"address=http://S3cr3t:S3cr3t@127.0.0.1:x&pow=false":     "address:",
		"address=http://127.0.0.1:1&pow=%zz":                     "the query is malformed",
		"address=http://127.0.0.1:1&address=http://127.0.0.1:22": "the key address occurs 2 times",
	} {
		status, text := check(t, server, query)
		assert.Equal(t, 400, status, query)
		assert.Contains(t, text, want)
		assert.NotContains(t, text, "S3cr3t")
	}
}

func TestConcurrentIdenticalChecksShareOneRequest(t *testing.T) {
	const clients = 20
	var arrived sync.WaitGroup
	arrived.Add(clients)
	fake := iritest.New(iritest.Delay(100 * time.Millisecond))
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived.Wait()
		fake.ServeHTTP(w, r)
	}))
	defer node.Close()
	catalog := NewCatalog(newConsul(), "", hclog.NewNullLogger())
	catalog.registered = map[netip.AddrPort]bool{netip.MustParseAddrPort(strings.TrimPrefix(node.URL, "http://")): true}
	handler := NewServer(catalog, iri.Options{}, 8)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived.Done()
		handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() {
			query := "skip-limited=true&address=" + node.URL
			if i%2 == 0 { // the order of the keys does not matter
				query = "address=" + node.URL + "&skip-limited=true"
			}
			status, _ := check(t, server.URL, query)
			assert.Equal(t, 200, status)
		})
	}
	group.Wait()
	assert.Equal(t, 1, fake.Count("getNodeInfo"))
}

func TestADisconnectedClientDoesNotEndACheckThatOthersWaitFor(t *testing.T) {
	node := iritest.NewServer(iritest.Delay(500 * time.Millisecond))
	defer node.Close()
	server := serve(t, newConsul(hostPort(node)), 8)
	address := server + "/check?skip-limited=true&address=" + node.URL
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	disconnected := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err == nil {
			_, err = http.DefaultClient.Do(req) //nolint:bodyclose // there is none
		}
		disconnected <- err
	}()
	require.Eventually(t, func() bool { return node.Count("getNodeInfo") == 1 }, 5*time.Second, time.Millisecond)
	cancel()
	assert.ErrorIs(t, <-disconnected, context.Canceled)
	status, text := get(t, address)
	assert.Equal(t, 200, status, text)
	assert.Equal(t, 1, node.Count("getNodeInfo"))
}

func TestConcurrentChecksAreLimited(t *testing.T) {
	var running, most atomic.Int32
	fake := iritest.New(iritest.Delay(20 * time.Millisecond))
	counting := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := running.Add(1)
		defer running.Add(-1)
		for {
			if old := most.Load(); n <= old || most.CompareAndSwap(old, n) {
				break
			}
		}
		fake.ServeHTTP(w, r)
	})
	var addrs, urls []string
	for range 12 {
		node := httptest.NewServer(counting)
		t.Cleanup(node.Close)
		addrs, urls = append(addrs, strings.TrimPrefix(node.URL, "http://")), append(urls, node.URL)
	}
	server := serve(t, newConsul(addrs...), 3)
	var group sync.WaitGroup
	for _, node := range urls {
		group.Go(func() {
			status, text := check(t, server, "skip-limited=true&address="+node)
			assert.Equal(t, 200, status, text)
		})
	}
	group.Wait()
	assert.EqualValues(t, 3, most.Load())
}

func TestConnectionsAreReusedAndReplaced(t *testing.T) {
	var connections atomic.Int32
	node := httptest.NewUnstartedServer(iritest.New())
	node.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	node.Start()
	defer node.Close()
	server := serve(t, newConsul(strings.TrimPrefix(node.URL, "http://")), 8)
	for range 5 {
		status, text := check(t, server, "address="+node.URL)
		assert.Equal(t, 200, status, text)
	}
	assert.EqualValues(t, 1, connections.Load())

	// No check fails when the node has closed the connection, as after a restart.
	for range 20 {
		node.CloseClientConnections()
		status, text := check(t, server, "skip-limited=true&address="+node.URL)
		assert.Equal(t, 200, status, text)
	}
}

func TestUnverifiedTLSConnectionsAreNotReusedForVerifiedChecks(t *testing.T) {
	node := iritest.NewTLSServer()
	defer node.Close()
	server := serve(t, newConsul(strings.TrimPrefix(node.URL, "https://")), 8)
	status, text := check(t, server, "skip-limited=true&skip-verify=true&address="+node.URL)
	assert.Equal(t, 200, status, text)
	status, text = check(t, server, "skip-limited=true&address="+node.URL)
	assert.Equal(t, 503, status, "the idle connection was not verified")
	assert.Contains(t, text, "the TLS certificate is not trusted")
}

func TestTheCatalogIsKeptWhileConsulFails(t *testing.T) {
	node := iritest.NewServer()
	defer node.Close()
	reg := newConsul(hostPort(node))
	server := serve(t, reg, 8)
	query := "skip-limited=true&address=" + node.URL
	status, _ := check(t, server, query)
	require.Equal(t, 200, status)
	reg.set(errors.New("no leader"))
	require.Eventually(t, func() bool { return reg.failed.Load() > 0 }, 5*time.Second, time.Millisecond)
	status, _ = check(t, server, query)
	assert.Equal(t, 200, status)

	reg.set(nil) // it responds again, and nothing is registered
	require.Eventually(t, func() bool { status, _ := check(t, server, query); return status == 403 }, 10*time.Second, 10*time.Millisecond)
}

func TestAnAddressThatIsJustBeingRegisteredIsWaitedFor(t *testing.T) {
	node := iritest.NewServer()
	defer node.Close()
	reg := newConsul("10.0.0.1:1")
	server := serve(t, reg, 8)
	time.AfterFunc(300*time.Millisecond, func() { reg.set(nil, "10.0.0.1:1", hostPort(node)) })
	status, text := check(t, server, "skip-limited=true&address="+node.URL)
	assert.Equal(t, 200, status, text)
}

func TestNothingIsContactedBeforeTheCatalogIsKnown(t *testing.T) {
	node := iritest.NewServer()
	defer node.Close()
	reg := newConsul()
	reg.set(errors.New("no leader"))
	server := serve(t, reg, 8)
	status, text := check(t, server, "address="+node.URL)
	assert.Equal(t, 503, status)
	assert.Contains(t, text, "the registered nodes are not known yet")
	assert.Empty(t, node.Counters())
	status, _ = get(t, server+"/readyz")
	assert.Equal(t, 503, status)
	status, _ = get(t, server+"/healthz")
	assert.Equal(t, 200, status)
}

func TestTheCatalogSurvivesARestartWithoutConsul(t *testing.T) {
	file := filepath.Join(t.TempDir(), "registered")
	log := hclog.NewNullLogger()
	first := NewCatalog(newConsul("10.0.0.1:14265", "[2001:db8::1]:14265"), file, log)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { first.Run(ctx); close(done) }()
	require.NoError(t, first.Require(ctx, netip.MustParseAddrPort("10.0.0.1:14265")))
	cancel()
	<-done

	second := NewCatalog(newConsul(), file, log)
	second.gracePeriod = time.Millisecond
	assert.NoError(t, second.Require(t.Context(), netip.MustParseAddrPort("[2001:db8::1]:14265")))
	assert.Error(t, second.Require(t.Context(), netip.MustParseAddrPort("10.0.0.2:14265")))

	require.NoError(t, os.WriteFile(file, []byte("10.0.0.1:14265\nhalf a li"), 0o600))
	assert.ErrorIs(t, NewCatalog(newConsul(), file, log).ready(), errNotReady, "a file that is not as it should be is not used")
}

func FuzzCheckQuery(f *testing.F) {
	for _, seed := range []string{
		"address=http://10.0.0.1:14265&pow=true", "address=http://u:p@[::1]:1&timeout=NaN", "address=http%3A%2F%2F10.0.0.1:14265%00",
		"address=http://10.0.0.1:14265@10.0.0.2:1", "%zz", "address=https://10.0.0.1:14265/%2e%2e//x&server-name=%0d%0a", "", "address=0%0A",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		catalog := NewCatalog(newConsul(), "", hclog.NewNullLogger())
		catalog.registered = map[netip.AddrPort]bool{}
		server := NewServer(catalog, iri.Options{}, 1)
		r := httptest.NewRequestWithContext(cancelled(t), "GET", "/check", nil)
		r.URL.RawQuery, r.RemoteAddr, r.Host = query, "127.0.0.1:5", "127.0.0.1:9295"
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		assert.Contains(t, []int{400, 403}, w.Code, "nothing is registered")
		assert.Equal(t, 1, strings.Count(w.Body.String(), "\n"), "one line: %q", w.Body)
	})
}

// cancelled is the context of a client that has disconnected, so that nothing waits.
func cancelled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
