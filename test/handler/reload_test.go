//go:build integration

package handler

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

func TestRestartedHAProxyGetsItsSlotsBack(t *testing.T) {
	b := newBed(t)
	b.Run(t)
	b.Register(t, "a", harness.NodeA, harness.NodePort, "haproxy.weight=5", "haproxy.maxconn=8")
	want := harness.Slot{Status: "no check", Weight: "5", MaxConn: "8"}
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), want)
	b.HAProxy.Container.Kill(t)
	b.HAProxy.Container.WaitStopped(t)
	b.HAProxy.Container.StartAgain(t)
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), want)
}

func TestReloadLosesNoRequestAndNoSlot(t *testing.T) {
	b := newBed(t)
	nodes := []string{harness.NodeA, harness.NodeB}
	for _, n := range nodes {
		harness.StartNode(t, n)
		b.Register(t, n, n, harness.NodePort, "haproxy.weight=5", "haproxy.maxconn=88")
	}
	want := harness.Slot{Status: "no check", Weight: "5", MaxConn: "88"}
	// No daemon: the reload alone has to keep everything, without Consul too.
	b.RequireHandler(t, "sync")
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), want)
	b.Consul.Container.Stop(t)
	wallets := harness.StartWallets(b.URL)
	for range 3 {
		old := b.Info(t, "Pid")
		b.RequireHandler(t, "reload")
		require.NotEqual(t, old, b.Info(t, "Pid"))
		for _, n := range nodes {
			b.WaitSlot(t, harness.Backend, harness.At(n), want)
		}
		wallets.WaitSent(t, 200)
	}
	wallets.Stop(t)
}

func TestReloadWithBadConfigurationSaysWhyAndChangesNothing(t *testing.T) {
	b := newBed(t)
	b.Run(t)
	b.Register(t, "a", harness.NodeA, harness.NodePort)
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.InService)
	text := b.Configuration(t)
	require.Contains(t, text, "    mode http\n")
	b.Configure(t, strings.Replace(text, "    mode http\n", "    mode nonsense\n", 1))
	code, log := b.Handler(t, "reload", "--timeout", "5s")
	assert.Equal(t, 1, code)
	if strings.HasSuffix(harness.HAProxyImage(), ":2.6") { // whose master gives no verdict
		assert.Contains(t, log, "no new worker")
	} else {
		assert.Contains(t, log, "nonsense", "HAProxy's own words")
	}
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.InService)
}

// A new worker that cannot bind makes HAProxy pause the listeners of the old one. So the reload is not tried.
func TestReloadWithATakenPortIsRefusedAndLosesNothing(t *testing.T) {
	b := newBed(t)
	harness.StartNode(t, harness.NodeA)
	b.Register(t, "a", harness.NodeA, harness.NodePort)
	b.RequireHandler(t, "sync")
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.InService)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	good := b.Configuration(t)
	b.Configure(t, good+"\nfrontend taken\n    bind "+taken.Addr().String()+"\n")
	wallets := harness.StartWallets(b.URL)
	wallets.WaitSent(t, 50)
	old := b.Info(t, "Pid")

	code, log := b.Handler(t, "reload")
	assert.Equal(t, 1, code)
	assert.Regexp(t, `haproxy.cfg:\d+: port `+taken.Addr().String()+` is used by handler.test \(process \d+\)`, log)
	wallets.WaitSent(t, 300)
	assert.Equal(t, old, b.Info(t, "Pid"))

	b.Configure(t, good)
	b.RequireHandler(t, "reload")
	wallets.WaitSent(t, 50)
	wallets.Stop(t)
}

func TestAReloadKeepsACopyOfWhatHAProxyHasLoaded(t *testing.T) {
	b := newBed(t)
	loaded := filepath.Join(b.Dir, "lib/loaded.cfg")
	text := b.Configuration(t) + "# another\n"
	b.Configure(t, text)
	b.RequireHandler(t, "reload")
	copied, err := os.ReadFile(loaded)
	require.NoError(t, err)
	assert.Equal(t, text, string(copied))
	info, err := os.Stat(loaded)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	b.Configure(t, strings.Replace(text, "    mode http\n", "    mode nonsense\n", 1))
	code, _ := b.Handler(t, "reload", "--timeout", "5s")
	assert.Equal(t, 1, code)
	copied, err = os.ReadFile(loaded)
	require.NoError(t, err)
	assert.Equal(t, text, string(copied), "HAProxy has not loaded the bad one")
}
