//go:build integration

package handler

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// As in HAProxy's unit, `sync` runs as soon as HAProxy has been started. It waits for Consul; the daemon must not.
func TestRestartedHAProxyIsFilledAtOnceWhileConsulHangs(t *testing.T) {
	b := harness.NewBed(t, harness.WithSlots(20))
	var hangs atomic.Bool
	address := b.InterceptHealthQueries(t, func(w http.ResponseWriter, r *http.Request) bool { return hangs.Load() && harness.Hang(w, r) })
	b.Change(t, func(c *harness.HandlerConfig) { c.Consul = address })
	b.Run(t)
	nodes := []string{harness.NodeA, harness.NodeB, harness.NodeC}
	for _, n := range nodes {
		harness.StartNode(t, n)
		b.Register(t, n, n, harness.NodePort)
	}
	for _, n := range nodes {
		b.WaitSlot(t, harness.Backend, harness.At(n), harness.Up)
	}
	wallets := harness.StartWallets(b.URL)
	wallets.WaitSent(t, 200)
	hangs.Store(true)
	b.HAProxy.Container.Kill(t)
	b.HAProxy.Container.WaitStopped(t)
	require.NoError(t, os.WriteFile(b.StateFile(), []byte("1\n"), 0o600))
	// The unit's two steps, at the same moment: the socket is not there yet when `sync` starts.
	const patience = 10 * time.Second
	sync := harness.StartProgram(t, "iri-lb-handler", "sync", "--config", b.ConfigFile, "--timeout", patience.String())
	b.HAProxy.Container.StartAgain(t)
	harness.Eventually(t, 20*time.Second, "HAProxy answers", func() error { _, err := b.Command("show info"); return err })
	answered := time.Now()
	harness.Eventually(t, patience/2, "all nodes serve", func() error {
		for _, n := range nodes {
			if got := b.Slots(t, harness.Backend)[harness.At(n)]; got != (harness.Slot{Name: got.Name, Status: "UP", Weight: "1"}) {
				return fmt.Errorf("%s is %+v", n, got)
			}
		}
		return nil
	})
	back := time.Now()
	wallets.WaitSent(t, 500)
	wallets.End()
	last := wallets.LastLoss()
	t.Logf("all nodes were back %s after the socket's first answer; the last request that failed began %s after it; %s",
		back.Sub(answered).Round(time.Millisecond), last.Sub(answered).Round(time.Millisecond), wallets.Figures())
	assert.True(t, last.Before(back), "no request fails once the nodes are back")
	sync.Stop(syscall.SIGTERM)
	if took := back.Sub(answered); took > 100*time.Millisecond { // shown, not judged: the machine may be busy
		t.Logf("the daemon's log:\n%s", b.Daemon.Log())
	}
}

func TestLockOfAnotherProgramIsNamedWithItsOwner(t *testing.T) {
	b := newBed(t)
	other := harness.StartCommand(t, flock(t), "--no-fork", b.Dir+"/run", "sleep", "60")
	harness.Eventually(t, 5*time.Second, "it has the lock", func() error {
		if exec.Command(flock(t), "--nonblock", b.Dir+"/run", "true").Run() == nil {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	b.Register(t, "a", harness.NodeA, harness.NodePort)
	code, log := b.Handler(t, "sync", "--timeout", "2s")
	assert.Equal(t, 1, code)
	assert.Contains(t, log, fmt.Sprintf("held by sleep (pid %d)", other.PID()))
	assert.NotContains(t, log, "held by another iri-lb-handler")
	other.Stop(syscall.SIGTERM)
	b.RequireHandler(t, "sync")
}

func flock(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("flock")
	require.NoError(t, err, "util-linux is needed")
	return path
}
