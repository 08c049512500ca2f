package cluster

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/status"
)

const token = "t0ken"

// consul has three members, and keeps what is written. It refuses everything without the token.
type consul struct {
	*httptest.Server
	values   map[string][]byte
	leader   string
	filtered bool
	stale    bool
}

func newConsul(t *testing.T) *consul {
	t.Helper()
	c := &consul{values: map[string][]byte{}, leader: `"10.0.0.1:8300"`}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/agent/members", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `[{"Name":"lb1","Addr":"10.0.0.1","Port":8301,"Status":1,"Tags":{"role":"consul","port":"8300"}},
			{"Name":"lb2","Addr":"10.0.0.2","Port":8301,"Status":4,"Tags":{"role":"consul","port":"8300"}},
			{"Name":"lb3","Addr":"10.0.0.3","Port":8301,"Status":1,"Tags":{"role":"node"}}]`)
	})
	mux.HandleFunc("GET /v1/status/leader", func(w http.ResponseWriter, _ *http.Request) {
		if c.leader == "" {
			http.Error(w, "No cluster leader", http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(w, c.leader)
	})
	mux.HandleFunc("GET /v1/kv/iri-lb-haproxy/hosts/", func(w http.ResponseWriter, r *http.Request) {
		c.stale = r.URL.Query().Has("stale")
		if c.filtered {
			w.Header().Set("X-Consul-Results-Filtered-By-ACLs", "true")
		}
		if c.filtered || len(c.values) == 0 {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		var list []string
		for key, value := range c.values {
			list = append(list, fmt.Sprintf(`{"Key":%q,"Value":%q}`, key, base64.StdEncoding.EncodeToString(value)))
		}
		_, _ = io.WriteString(w, "["+strings.Join(list, ",")+"]")
	})
	mux.HandleFunc("PUT /v1/kv/", func(w http.ResponseWriter, r *http.Request) {
		value, _ := io.ReadAll(r.Body)
		c.values[strings.TrimPrefix(r.URL.Path, "/v1/kv/")] = value
		_, _ = io.WriteString(w, "true")
	})
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Consul-Token") != token {
			http.Error(w, "Permission denied: token lacks permission", http.StatusForbidden)
			return
		}
		w.Header().Set("X-Consul-Index", "1")
		w.Header().Set("X-Consul-LastContact", "0")
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *consul) store(t *testing.T, token string) *Store {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(token+"\n"), 0o600))
	return New(registry.Options{Address: c.URL, TokenFile: file})
}

// report is one of a host with as many nodes in each of three pools.
func report(host string, nodes int) status.Report {
	one := status.ReportedHAProxy{Socket: "/run/haproxy/admin.sock", Version: "3.0.11", Pid: "8"}
	for _, name := range []string{"default", "pow", "archive"} {
		p := status.ReportedPool{Name: name, Nodes: []status.ReportedNode{}}
		for i := range nodes {
			address := fmt.Sprintf("10.%d.%d.%d:14265", 100+i/7%13, i/250, i%250)
			p.Nodes = append(p.Nodes, status.ReportedNode{
				ID: fmt.Sprintf("node%d.iota.example.org", i*7919%nodes), Address: address, Registered: "catalog",
				Slot: fmt.Sprint("http", i*6007%nodes), HAProxy: "ready", Verdict: "passing",
			})
		}
		one.Pools = append(one.Pools, p)
	}
	return status.Report{
		Host: host, Written: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), NotReady: []string{}, Addresses: []string{},
		HAProxy: []status.ReportedHAProxy{one},
	}
}

func TestReportsAreReadAsTheyWereWritten(t *testing.T) {
	c := newConsul(t)
	s := c.store(t, token)
	require.NoError(t, s.Write(t.Context(), report("lb1", 3)))
	require.NoError(t, s.Write(t.Context(), report("lb3", 2000)))
	require.NoError(t, s.Write(t.Context(), report("gone", 1)))
	c.values[folder+"lb2"] = []byte("not gzip")
	assert.True(t, json.Valid(c.values[folder+"lb1"]), "a short report can be read by people")
	t.Logf("2000 nodes in three pools: %d bytes", len(c.values[folder+"lb3"]))
	assert.Less(t, len(c.values[folder+"lb3"]), 512_000/2, "Consul takes 512 kB")

	got, err := s.Read(t.Context())
	require.NoError(t, err)
	assert.True(t, c.stale, "it needs no leader")
	assert.Equal(t, "lb1", got.Consul.Leader)
	hosts := map[string]status.Host{}
	for _, h := range got.Hosts {
		hosts[h.Name] = h
	}
	require.Len(t, hosts, 4)
	assert.Equal(t, "leader alive", hosts["lb1"].Role+" "+hosts["lb1"].State)
	assert.Equal(t, "server failed", hosts["lb2"].Role+" "+hosts["lb2"].State)
	assert.Equal(t, "client alive", hosts["lb3"].Role+" "+hosts["lb3"].State)
	assert.Empty(t, hosts["gone"].Role, "Consul does not know it")
	assert.Equal(t, report("lb1", 3), *hosts["lb1"].Report)
	assert.Equal(t, report("lb3", 2000), *hosts["lb3"].Report)
	assert.Nil(t, hosts["lb2"].Report)
	assert.Contains(t, hosts["lb2"].Error, "its report cannot be read")
}

func TestAHostWithoutAReportIsListed(t *testing.T) {
	got, err := newConsul(t).store(t, token).Read(t.Context())
	require.NoError(t, err)
	require.Len(t, got.Hosts, 3)
	assert.Contains(t, got.Hosts[0].Error, "no report: it has no handler, an older one, or one in watch mode")
}

func TestWithoutALeaderTheReportsAreThere(t *testing.T) {
	c := newConsul(t)
	s := c.store(t, token)
	require.NoError(t, s.Write(t.Context(), report("lb1", 1)))
	for _, c.leader = range []string{"", `""`} {
		got, err := s.Read(t.Context())
		require.NoError(t, err)
		assert.Empty(t, got.Consul.Leader)
		assert.Len(t, got.Hosts, 3)
	}
}

func TestAnOldTokenIsNamedWithWhatToDo(t *testing.T) {
	c := newConsul(t)
	s := c.store(t, "0ld")
	want := "the token " + s.tokenFile + " may not do that; run the playbook, which extends the token's policy"
	require.ErrorContains(t, s.Write(t.Context(), report("lb1", 1)), "write iri-lb-haproxy/hosts/lb1 in Consul: "+want)

	// It may read nodes, and Consul leaves the rest out.
	c.filtered = true
	got, err := c.store(t, token).Read(t.Context())
	require.ErrorContains(t, err, "read iri-lb-haproxy/hosts/ in Consul: the token ")
	assert.Len(t, got.Hosts, 3, "the members are there all the same")
	assert.Contains(t, got.Consul.Error, "run the playbook")
}

func TestAConsulThatIsAwayIsAnError(t *testing.T) {
	c := newConsul(t)
	s := c.store(t, token)
	c.Close()
	require.ErrorContains(t, s.Write(t.Context(), report("lb1", 1)), "connection refused")
	got, err := s.Read(t.Context())
	require.ErrorContains(t, err, "read the members in Consul")
	assert.NotContains(t, got.Consul.Error, "\n")
	require.NoError(t, os.Remove(s.tokenFile))
	_, err = s.Read(t.Context())
	require.ErrorContains(t, err, s.tokenFile)
	require.ErrorContains(t, s.Write(t.Context(), report("lb1", 1)), s.tokenFile)
}
