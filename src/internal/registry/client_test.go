package registry

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// consul answers the queries of one test.
type consul struct {
	*httptest.Server
	// answer makes one answer.
	answer func(w http.ResponseWriter, r *http.Request)
}

func newConsul(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) *consul {
	t.Helper()
	c := &consul{answer: answer}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.answer(w, r) }))
	t.Cleanup(c.Close)
	return c
}

// list answers with an index and services, as the leader does.
func list(w http.ResponseWriter, index int, services ...string) {
	w.Header().Set("X-Consul-Index", fmt.Sprint(index))
	w.Header().Set("X-Consul-KnownLeader", "true")
	_, _ = fmt.Fprint(w, "[")
	for i, s := range services {
		if i > 0 {
			_, _ = fmt.Fprint(w, ",")
		}
		_, _ = fmt.Fprint(w, s)
	}
	_, _ = fmt.Fprint(w, "]")
}

func (c *consul) client(t *testing.T, token string) *Client {
	t.Helper()
	file := ""
	if token != "" {
		file = filepath.Join(t.TempDir(), "token")
		require.NoError(t, os.WriteFile(file, []byte(token+"\n"), 0o600))
	}
	client, err := NewClient(Options{Address: c.URL, TokenFile: file, Service: "iri", Pools: []string{"default", "pow"}})
	require.NoError(t, err)
	return client
}

func TestAQueryNamesTheServiceAndCarriesTheToken(t *testing.T) {
	var got *http.Request
	c := newConsul(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		list(w, 7, service("a", "passing"))
	})
	client := c.client(t, "secret")
	snap, err := client.Fetch(t.Context(), 0)
	require.NoError(t, err)
	assert.Equal(t, uint64(7), snap.Index)
	require.Len(t, snap.Nodes, 1)
	assert.Equal(t, "a", snap.Nodes[0].ID)
	assert.Equal(t, "/v1/health/service/iri", got.URL.String()[:len("/v1/health/service/iri")])
	assert.Empty(t, got.URL.RawQuery)
	assert.Equal(t, "secret", got.Header.Get("X-Consul-Token"))

	_, err = client.Fetch(t.Context(), 7)
	require.NoError(t, err)
	assert.Equal(t, "7", got.URL.Query().Get("index"))
	assert.NotEmpty(t, got.URL.Query().Get("wait"))

	_, err = client.Confirm(t.Context())
	require.NoError(t, err)
	assert.True(t, got.URL.Query().Has("consistent"))
	assert.False(t, got.URL.Query().Has("index"))
}

func TestAnOddAnswerIsAnErrorAndNeverAnEmptyList(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request)
		want   string
	}{
		"a status":   {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no cluster leader", 500) }, "HTTP 500: no cluster leader"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/ui/", http.StatusFound) }, "HTTP 302"},
		"no index":   {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("[]")) }, "it has no X-Consul-Index"},
		"no leader": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Consul-Index", "7")
			_, _ = w.Write([]byte("[]"))
		}, "the servers have no leader"},
		"parts left out": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Consul-Results-Filtered-By-ACLs", "true")
			list(w, 7)
		}, "parts were left out because the token may not read them"},
		"not JSON": {func(w http.ResponseWriter, _ *http.Request) { list(w, 7, "<html>") }, "not a list of services"},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			list(w, 7)
		}, "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			snap, err := newConsul(t, test.answer).client(t, "secret").Fetch(t.Context(), 0)
			require.ErrorContains(t, err, test.want)
			assert.Equal(t, Snapshot{}, snap)
		})
	}
}

func TestConsulsStreamingBackendNeverSaysThatItKnowsALeader(t *testing.T) {
	c := newConsul(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Consul-Index", "7")
		w.Header().Set("X-Consul-Query-Backend", "streaming")
		_, _ = w.Write([]byte("[]"))
	})
	_, err := c.client(t, "secret").Fetch(t.Context(), 0)
	assert.NoError(t, err)
}

func TestAnEmptyListWithoutATokenIsBelievedOnlyWithoutACLs(t *testing.T) {
	for acl, want := range map[string]string{
		"ACL support disabled": "",
		"Permission denied":    "Consul shows nothing to a request without a token; set consul.token_file",
	} {
		c := newConsul(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/acl/token/self" {
				http.Error(w, acl, http.StatusForbidden)
				return
			}
			list(w, 7)
		})
		_, err := c.client(t, "").Fetch(t.Context(), 0)
		if want == "" {
			assert.NoError(t, err)
		} else {
			assert.ErrorContains(t, err, want)
		}
	}
}

func TestATokenFileThatCannotBeUsedIsNamed(t *testing.T) {
	_, err := NewClient(Options{Address: "http://127.0.0.1:8500", TokenFile: "/nowhere/token"})
	require.ErrorContains(t, err, "Consul's token: open /nowhere/token")
	empty := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(empty, []byte("\n"), 0o600))
	_, err = NewClient(Options{Address: "http://127.0.0.1:8500", TokenFile: empty})
	require.ErrorContains(t, err, empty+" is empty")
}

func TestAQueryEndsWithItsContext(t *testing.T) {
	c := newConsul(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.client(t, "secret").Fetch(ctx, 7)
	assert.ErrorIs(t, err, context.Canceled)
}

func TestARotatedTokenIsUsedAtTheNextQuery(t *testing.T) {
	valid := "new"
	c := newConsul(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Consul-Token") != valid {
			http.Error(w, "ACL not found", http.StatusForbidden)
			return
		}
		list(w, 7)
	})
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("old\n"), 0o600))
	client, err := NewClient(Options{Address: c.URL, TokenFile: file, Service: "iri"})
	require.NoError(t, err)
	_, err = client.Fetch(t.Context(), 0)
	require.ErrorContains(t, err, "HTTP 403: ACL not found; Consul refuses the token in "+file+", which is read again at every query")
	require.NoError(t, os.WriteFile(file, []byte("new\n"), 0o600))
	_, err = client.Fetch(t.Context(), 0)
	require.NoError(t, err)
	require.NoError(t, os.Remove(file))
	_, err = client.Fetch(t.Context(), 0)
	require.ErrorContains(t, err, "Consul's token: open "+file)
}

func TestARefusalWithoutATokenSaysWhereToSetOne(t *testing.T) {
	c := newConsul(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "Permission denied", http.StatusForbidden) })
	_, err := c.client(t, "").Fetch(t.Context(), 0)
	require.ErrorContains(t, err, "set consul.token_file")
}
