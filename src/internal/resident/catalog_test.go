package resident

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iri"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

// logger is a logger and its output.
func logger() (hclog.Logger, *bytes.Buffer) {
	var out bytes.Buffer
	return hclog.New(&hclog.LoggerOptions{Output: &out}), &out
}

// replies is a registry that returns these results one after the other and then waits.
type replies struct {
	results []any // an error or a registry.Snapshot
	indexes []uint64
	done    chan struct{}
}

func (r *replies) Fetch(ctx context.Context, index uint64) (registry.Snapshot, error) {
	r.indexes = append(r.indexes, index)
	if len(r.results) == 0 {
		close(r.done)
		<-ctx.Done()
		return registry.Snapshot{}, ctx.Err()
	}
	result := r.results[0]
	r.results = r.results[1:]
	if err, isError := result.(error); isError {
		return registry.Snapshot{}, err
	}
	return result.(registry.Snapshot), nil
}

// follow runs the catalog until all replies have been used.
func follow(t *testing.T, r *replies) (log string) {
	t.Helper()
	r.done = make(chan struct{})
	l, out := logger()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { NewCatalog(r, "", l).Run(ctx); close(ended) }()
	<-r.done
	cancel()
	<-ended
	return out.String()
}

func TestAnIndexThatGoesBackwardsStartsAgainFromZero(t *testing.T) {
	r := &replies{results: []any{registry.Snapshot{Index: 7}, registry.Snapshot{Index: 3}, registry.Snapshot{Index: 4}}}
	follow(t, r)
	assert.Equal(t, []uint64{0, 7, 0, 4}, r.indexes)
}

func TestAnErrorOfConsulIsLoggedOnceUntilItResponds(t *testing.T) {
	r := &replies{results: []any{registry.Snapshot{Index: 7}, errors.New("no leader"), registry.Snapshot{Index: 7}}}
	log := follow(t, r)
	assert.Equal(t, []uint64{0, 7, 0, 7}, r.indexes, "after an error the query does not block")
	assert.Equal(t, 1, strings.Count(log, "cannot read the registered addresses from Consul"))
	assert.Contains(t, log, `error="no leader"`)
	assert.Contains(t, log, "Consul responds again")
	assert.Equal(t, 1, strings.Count(log, "the registered addresses have changed"))
}

func TestRepeatedErrorsAreLoggedOnce(t *testing.T) {
	l, out := logger()
	catalog := NewCatalog(newConsul(), "", l)
	for range 3 {
		catalog.recordError(errors.New("no leader"))
	}
	catalog.recordError(errors.New("permission denied"))
	assert.Equal(t, 2, strings.Count(out.String(), "\n"))
}

func TestUnusableStateFilesAreLoggedAndIgnored(t *testing.T) {
	dir := t.TempDir()
	for file, want := range map[string]string{
		dir:                             "cannot read the saved addresses",
		filepath.Join(dir, "invalid"):   "ignoring the saved addresses",
		filepath.Join(dir, "not-there"): "",
	} {
		if want == "ignoring the saved addresses" {
			require.NoError(t, os.WriteFile(file, []byte("10.0.0.1\n"), 0o600))
		}
		l, out := logger()
		assert.ErrorIs(t, NewCatalog(newConsul(), file, l).ready(), errNotReady)
		assert.Contains(t, out.String(), want)
		assert.Equal(t, want == "", out.Len() == 0)
	}
}

func TestAStateFileThatCannotBeWrittenIsOnlyLogged(t *testing.T) {
	l, out := logger()
	catalog := NewCatalog(newConsul(), "/missing/registered", l)
	catalog.update(nil)
	assert.NoError(t, catalog.ready())
	assert.Contains(t, out.String(), "cannot save the registered addresses for the next start")
}

func TestRequireStopsWaitingWhenTheClientDisconnects(t *testing.T) {
	catalog := NewCatalog(newConsul(), "", hclog.NewNullLogger())
	catalog.gracePeriod = time.Hour
	assert.ErrorIs(t, catalog.Require(cancelled(t), netip.MustParseAddrPort("10.0.0.1:1")), errNotReady)
	catalog.update(nil)
	assert.ErrorContains(t, catalog.Require(cancelled(t), netip.MustParseAddrPort("10.0.0.1:1")), "10.0.0.1:1 is not registered")
}

func TestReadyzRespondsOnceTheCatalogIsKnown(t *testing.T) {
	catalog := NewCatalog(newConsul(), "", hclog.NewNullLogger())
	server := NewServer(catalog, iri.Options{}, 1)
	ready := func() int {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil)
		r.RemoteAddr, r.Host = "127.0.0.1:5", "127.0.0.1:9295"
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		return w.Code
	}
	assert.Equal(t, 503, ready())
	catalog.update(nil)
	assert.Equal(t, 200, ready())
}
