package daemon

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/status"
)

func TestTheHostIsCalledAsInConsul(t *testing.T) {
	name, err := os.Hostname()
	require.NoError(t, err)
	short, _, _ := strings.Cut(name, ".")
	assert.Equal(t, short, DefaultConfig().hostname())
	assert.Equal(t, "lb1", Config{Host: "lb1"}.hostname())
}

func TestOnlyAddressesOfThisHostAreItsOwn(t *testing.T) {
	assert.Equal(t, []string{"127.0.0.9", "::1"}, present([]string{"127.0.0.9", "192.0.2.10", "::1", "nonsense"}))
	assert.Equal(t, []string{}, present(nil))
}

func TestTheReportSaysWhatThisHostIsNotReadyFor(t *testing.T) {
	d, _ := newDaemon(t, 2)
	d.cfg.Host, d.cfg.Addresses, d.Version = "lb1", []string{"127.0.0.9", "192.0.2.10"}, "1.2.3"
	r := d.report(t.Context(), true)
	assert.Equal(t, "lb1 1.2.3", r.Host+" "+r.Version)
	assert.Equal(t, []string{"127.0.0.9"}, r.Addresses)
	assert.Contains(t, r.NotReady, "Consul: no answer yet")
	assert.WithinDuration(t, time.Now(), r.Started, time.Minute)
	assert.Empty(t, r.HAProxy, "nothing is known of the nodes yet")

	snap, err := d.watcher.Once(t.Context())
	require.NoError(t, err)
	d.snapshot.Store(&snap)
	r = d.report(t.Context(), true)
	require.Len(t, r.HAProxy, 2)
	assert.Equal(t, d.cfg.HAProxy.AdminSockets[1], r.HAProxy[1].Socket)
	assert.Contains(t, r.HAProxy[1].Error, "no such file or directory")
}

func TestTheDaemonWritesItsReportAndStatusReadsIt(t *testing.T) {
	written := make(chan status.Report, 10)
	consul := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut:
			var report status.Report
			assert.NoError(t, json.NewDecoder(r.Body).Decode(&report))
			assert.Equal(t, "/v1/kv/iri-lb-haproxy/hosts/lb1", r.URL.Path)
			written <- report
			_, _ = io.WriteString(w, "true")
		case r.URL.Path == "/v1/agent/members":
			_, _ = io.WriteString(w, `[{"Name":"lb1","Status":1,"Tags":{"role":"node"}}]`)
		default:
			http.Error(w, "rpc error: No cluster leader", http.StatusInternalServerError)
		}
	}))
	defer consul.Close()
	cfg := DefaultConfig()
	cfg.Consul.Address, cfg.Host, cfg.Listen = consul.URL, "lb1", "127.0.0.1:0"
	cfg.NodesFile = filepath.Join(t.TempDir(), "nodes.json")
	cfg.HAProxy.AdminSockets = []string{filepath.Join(t.TempDir(), "a.sock")}
	d, err := New(cfg, hclog.NewNullLogger(), clockwork.NewRealClock())
	require.NoError(t, err)
	_, stop, ended := serveDaemon(t, d)
	select {
	case r := <-written:
		assert.Equal(t, "lb1", r.Host)
		assert.Contains(t, strings.Join(r.NotReady, "\n"), "No cluster leader")
	case <-time.After(20 * time.Second):
		t.Fatal("no report")
	}
	stop()
	require.NoError(t, <-ended)

	c, err := d.Cluster(t.Context())
	require.ErrorContains(t, err, "read iri-lb-haproxy/hosts/ in Consul: HTTP 500: rpc error: No cluster leader")
	require.Len(t, c.Hosts, 1)
	assert.Equal(t, "alive", c.Hosts[0].State)
	assert.Equal(t, []string{}, c.Compared)
}
