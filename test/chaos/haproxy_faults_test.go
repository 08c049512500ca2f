//go:build integration

package chaos

import (
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	dc "github.com/ory/dockertest/v3/docker"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

func reloads(t *testing.T, b *bed) {
	for range 5 {
		b.RequireHandler(t, "reload")
		b.churn(t, time.Second)
	}
}

// refusedReloads: HAProxy would pause its listeners.
func refusedReloads(t *testing.T, b *bed) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	good := b.Configuration(t)
	b.Configure(t, good+"\nfrontend taken\n    bind "+taken.Addr().String()+"\n")
	config := b.undisturbed(t) // or the proxy, which has the port as well, would pass for HAProxy
	for range 5 {
		code, log := harness.RunProgram(t, "iri-lb-handler", "reload", "--config", config)
		require.Equal(t, 1, code)
		require.Contains(t, log, "is used by")
		b.churn(t, time.Second)
	}
	b.Configure(t, good)
}

func reloadByHand(t *testing.T, b *bed) {
	b.HAProxy.Container.Signal(t, dc.SIGUSR2)
	harness.Keep(2 * time.Second) // under load: the new worker starts meanwhile
}

func killHAProxy(t *testing.T, b *bed) {
	b.restartHAProxy(t, func() { b.HAProxy.Container.Kill(t) })
}

// killWorker: the master ends with its worker.
func killWorker(t *testing.T, b *bed) {
	b.restartHAProxy(t, func() { b.HAProxy.Container.Exec(t, "kill -9 "+b.Info(t, "Pid")) })
}

// killHAProxyWhileConsulHangs: all that is known of the nodes is what the daemon remembers.
func killHAProxyWhileConsulHangs(t *testing.T, b *bed) {
	hang := harness.Intercept(harness.Hang)
	b.fault.Store(&hang)
	b.touch(t) // ends the query in flight; the next one hangs
	killHAProxy(t, b)
	harness.Keep(long) // under load, and `sync` ends without an answer
	b.fault.Store(nil)
	b.Daemon.Stop(syscall.SIGTERM) // or its query would hang for a minute
	b.Run(t)
}

// killBoth is `systemctl restart consul haproxy`.
func killBoth(t *testing.T, b *bed) {
	b.restartHAProxy(t, func() {
		b.Consul.Container.Kill(t)
		b.HAProxy.Container.Kill(t)
		b.Consul.Container.WaitStopped(t)
		b.Consul.Container.StartAgain(t)
	})
	b.WaitLeader(t)
	b.WaitPassing(t, len(healthyNodes))
}

func missingSocket(t *testing.T, b *bed) {
	away := b.AdminSocket() + ".away"
	require.NoError(t, os.Rename(b.AdminSocket(), away))
	b.socket.cut.Store(1) // and the connection that is open ends
	b.touch(t)
	harness.Keep(long) // how long it is missing
	b.socket.cut.Store(0)
	require.NoError(t, os.Rename(away, b.AdminSocket()))
}

func hangingSocket(t *testing.T, b *bed) {
	b.socket.hang.Store(true)
	b.churn(t, long)
	b.socket.hang.Store(false)
}

func cutSocket(t *testing.T, b *bed) {
	for end := time.Now().Add(long); time.Now().Before(end); {
		b.socket.cut.Store(1 + rand.Int64N(20000))
		b.churn(t, 100*time.Millisecond)
	}
	b.socket.cut.Store(0)
}
