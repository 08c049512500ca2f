package mirror

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy/haproxytest"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

// reloadable is a world whose files are in a folder of the test's own.
func reloadable(t *testing.T) (w *world, stateFile, sniFile string) {
	t.Helper()
	dir := t.TempDir()
	stateFile, sniFile = filepath.Join(dir, "srv.state"), filepath.Join(dir, "iri_back.sni")
	w = newWorld(t, func(w *world, o *Options) {
		w.haproxy.AddMap(sniFile)
		o.Pools[0].SNIMap = path(t, sniFile)
	})
	w.set(node("10.0.0.1", func(n *registry.Node) { n.MaxConn, n.MaxConnSet = 7, true }), node("10.0.1.1", tls(pool.Verified), named("a.example")))
	w.settle()
	return w, stateFile, sniFile
}

func TestAReloadSavesTheSlotsFirstAndRestoresTheLimits(t *testing.T) {
	w, stateFile, sniFile := reloadable(t)
	err := w.Reload(t.Context(), stateFile, Replacement{Begin: func(context.Context) error {
		state, err := os.ReadFile(stateFile)
		require.NoError(t, err)
		assert.Contains(t, string(state), "10.0.0.1 14265")
		names, err := os.ReadFile(sniFile)
		require.NoError(t, err)
		assert.Regexp(t, `^https\d+ a\.example\n$`, string(names))
		w.haproxy.Reload(0)
		return nil
	}})
	require.NoError(t, err)
	assert.Equal(t, 7, w.haproxy.Serving("iri_back")[node("10.0.0.1").Addr].MaxConn)
	assert.Contains(t, w.log.String(), "HAProxy reloaded: slots_before=20 slots_now=20")
}

func TestAReloadThatFailsSaysWhy(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(w *world)
		ask     func(w *world, cancel func()) error
		want    string
	}{
		"HAProxy does not run":         {func(w *world) { w.session.drop(); w.haproxy.Stop() }, nil, "save HAProxy's slots before the reload"},
		"the configuration is refused": {func(*world) {}, func(*world, func()) error { return errNoAnswer }, "no answer"},
		"no new worker appears":        {func(*world) {}, func(_ *world, cancel func()) error { cancel(); return nil }, "HAProxy shows no new worker"},
	} {
		t.Run(name, func(t *testing.T) {
			w, stateFile, _ := reloadable(t)
			test.prepare(w)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := w.Reload(ctx, stateFile, Replacement{Begin: func(context.Context) error { return test.ask(w, cancel) }})
			assert.ErrorContains(t, err, test.want)
		})
	}
}

func TestAReloadMayBringAPoolThatHAProxyDoesNotHaveYet(t *testing.T) {
	w, stateFile, _ := reloadable(t)
	w.session.pools = append(w.session.pools, Pool{Name: "new", Backend: backendName(t, "iri_new_back")})
	w.opts.Pools = w.session.pools
	require.NoError(t, w.Reload(t.Context(), stateFile, Replacement{Begin: func(context.Context) error {
		w.haproxy.AddBackend("iri_new_back", haproxytest.Template{Prefix: "http", Slots: 2})
		w.haproxy.Reload(0)
		return nil
	}}))
	assert.Equal(t, 7, w.haproxy.Serving("iri_back")[node("10.0.0.1").Addr].MaxConn)
	assert.Contains(t, w.log.String(), "HAProxy reloaded: slots_before=20 slots_now=22")
}

func TestTheEndOfAReplacementComesWhenTheNewWorkerIsLikeTheOldOne(t *testing.T) {
	w, stateFile, _ := reloadable(t)
	limit := -1
	end := func(_ context.Context, failed error) error {
		require.NoError(t, failed)
		limit = w.haproxy.Serving("iri_back")[node("10.0.0.1").Addr].MaxConn
		return errNoAnswer
	}
	err := w.Reload(t.Context(), stateFile, Replacement{Begin: func(context.Context) error { w.haproxy.Reload(0); return nil }, End: end})
	require.ErrorIs(t, err, errNoAnswer)
	assert.Equal(t, 7, limit)
}

func TestTheEndOfAReplacementLearnsWhyThereIsNoNewWorker(t *testing.T) {
	w, stateFile, _ := reloadable(t)
	ctx, cancel := context.WithCancel(t.Context())
	end := func(_ context.Context, failed error) error { return errors.Join(failed, errNoAnswer) }
	err := w.Reload(ctx, stateFile, Replacement{Begin: func(context.Context) error { cancel(); return nil }, End: end})
	require.ErrorIs(t, err, errNoAnswer)
	assert.ErrorContains(t, err, "HAProxy shows no new worker")
}

func TestAReloadWithoutPlaceForTheStateFileIsNotTried(t *testing.T) {
	w, _, _ := reloadable(t)
	err := w.Reload(t.Context(), "/nowhere/srv.state", Replacement{Begin: func(context.Context) error { t.Fatal("reloaded"); return nil }})
	assert.ErrorContains(t, err, "write /nowhere/srv.state")
}

func TestAFileIsReplacedInOneStepOrNotAtAll(t *testing.T) {
	file := filepath.Join(t.TempDir(), "srv.state")
	require.NoError(t, writeFile(file, "1\n"))
	require.NoError(t, writeFile(file, "1\nnew\n"))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "1\nnew\n", string(text))
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.ErrorContains(t, writeFile("/nowhere/srv.state", "1\n"), "/nowhere")
	left, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*"))
	require.NoError(t, err)
	assert.Equal(t, []string{file}, left)
}
