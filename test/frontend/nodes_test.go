//go:build integration

package frontend

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// recorder is a fake node that keeps what reaches it, byte for byte, and counts even what it could not read as a
// request.
type recorder struct {
	name, addr string

	mu      sync.Mutex
	begun   int
	arrived []arrival
	// gate, unless nil, holds back answers until it is closed.
	gate chan struct{}
}

// arrival is a request as it reached a node.
type arrival struct {
	method, uri string
	header      http.Header
	body        []byte
}

// startRecorder runs a node whose answers carry its name.
func startRecorder(t *testing.T, name string) *recorder {
	t.Helper()
	r := &recorder{name: name}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		gate := r.record(arrival{method: req.Method, uri: req.RequestURI, header: req.Header.Clone(), body: body})
		if gate != nil {
			<-gate
		}
		w.Header().Set("X-Fake-Node", name)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"duration":0}`)
	}))
	// A connection is active from the first byte of a request on.
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateActive {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.begun++
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	r.addr = server.Listener.Addr().String()
	return r
}

func (r *recorder) record(a arrival) (gate chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.arrived = append(r.arrived, a)
	return r.gate
}

// hold holds back the answers until the function that it returns is called.
func (r *recorder) hold() (release func()) {
	gate := make(chan struct{})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gate = gate
	return sync.OnceFunc(func() {
		r.mu.Lock()
		r.gate = nil
		r.mu.Unlock()
		close(gate)
	})
}

func (r *recorder) waiting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.arrived)
}

// take returns what has reached the node since the last call.
func (r *recorder) take(t *testing.T) []arrival {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	arrived, begun := r.arrived, r.begun
	r.arrived, r.begun = nil, 0
	require.Len(t, arrived, begun, "of the requests at node %s so many could be read", r.name)
	return arrived
}

// pools is a HAProxy with one node in each pool.
type pools struct {
	*harness.HAProxy
	nodes [2]*recorder // default, pow
}

const (
	toDefault = "default"
	toPoW     = "pow"
)

func startPools(t *testing.T, vars harness.Vars) *pools {
	t.Helper()
	p := &pools{nodes: [2]*recorder{startRecorder(t, toDefault), startRecorder(t, toPoW)}}
	p.HAProxy = startHAProxy(t, vars)
	p.Serve(t, harness.Backend, 1, p.nodes[0].addr)
	p.Serve(t, harness.PoWBackend, 1, p.nodes[1].addr)
	return p
}
