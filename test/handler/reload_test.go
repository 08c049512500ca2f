//go:build integration

package handler

import (
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
