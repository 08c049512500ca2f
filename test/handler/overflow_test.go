//go:build integration

package handler

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// smallBed has two slots for http, and four nodes.
func smallBed(t *testing.T, overflow bool) *harness.Bed {
	t.Helper()
	b := harness.NewBed(t, harness.WithSlots(2), harness.WithoutHealthChecks())
	b.Change(t, func(c *harness.HandlerConfig) { c.SlotOverflow, c.CAFile = overflow, b.NodesCA() })
	for _, n := range crowd {
		harness.StartNode(t, n)
		b.Register(t, n, n, harness.NodePort, "haproxy.weight=3", "haproxy.maxconn=9")
	}
	return b
}

// waitReadyz waits until the daemon's readiness has the text, whatever its status.
func waitReadyz(t *testing.T, b *harness.Bed, text string) {
	t.Helper()
	harness.Eventually(t, 10*time.Second, "/readyz says "+text, func() error {
		if _, body := b.Get(t, "/readyz"); !strings.Contains(body, text) {
			return fmt.Errorf("%s", body)
		}
		return nil
	})
}

func TestNodesBeyondTheSlotsWaitAndAreReported(t *testing.T) {
	b := smallBed(t, false)
	b.Run(t)
	waitReadyz(t, b, "pool default: 2 nodes wait for a slot")
	_, metrics := b.Get(t, "/metrics")
	assert.Contains(t, metrics, `iri_lb_handler_nodes_waiting{pool="default",socket="`+b.AdminSocket()+`"} 2`)
	in := b.Slots(t, harness.Backend)
	require.Len(t, in, 2)
	for addr := range in { // one leaves: a node that waits gets its slot
		require.NoError(t, b.Agent().ServiceDeregister(strings.TrimSuffix(addr, fmt.Sprint(":", harness.NodePort))))
		b.WaitSlot(t, harness.Backend, addr, harness.NoSlot)
		break
	}
	b.WaitSlotCount(t, harness.Backend, 2)
	waitReadyz(t, b, "1 nodes wait")
}

func TestServersAreAddedForNodesBeyondTheSlotsAndRemovedWithThem(t *testing.T) {
	b := smallBed(t, true)
	harness.StartNode(t, "127.0.1.5", "-cert", b.NodesCA(), "-key", b.NodesKey())
	b.Run(t)
	want := harness.Slot{Status: "no check", Weight: "3", MaxConn: "9"}
	for _, n := range crowd {
		b.WaitSlot(t, harness.Backend, harness.At(n), want)
	}
	added := 0
	for _, s := range b.Slots(t, harness.Backend) {
		added += strings.Count(s.Name, "http-overflow")
	}
	assert.Equal(t, 2, added)
	seen := map[string]bool{}
	harness.Eventually(t, 10*time.Second, "all of them answer", func() error { // those in slots start slowly
		node, err := harness.Ask(b.URL)
		require.NoError(t, err)
		if seen[node] = true; len(seen) < 4 {
			return fmt.Errorf("%d of 4 have answered", len(seen))
		}
		return nil
	})

	wallets := harness.StartWallets(b.URL)
	b.RequireHandler(t, "reload")
	for _, n := range crowd {
		b.WaitSlot(t, harness.Backend, harness.At(n), want)
	}
	wallets.Stop(t)

	for _, n := range crowd[:3] {
		require.NoError(t, b.Agent().ServiceDeregister(n))
		b.WaitSlot(t, harness.Backend, harness.At(n), harness.NoSlot)
	}
	harness.Eventually(t, 10*time.Second, "no more servers than are needed", func() error {
		servers, err := b.Command("show servers state " + harness.Backend)
		if n := strings.Count(servers, "overflow"); n > 1 {
			return fmt.Errorf("%d added servers are left", n)
		}
		return err
	})
	b.WaitSlot(t, harness.Backend, harness.At(crowd[3]), want)
}
