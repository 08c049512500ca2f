//go:build integration

package chaos

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// maintenanceOfAll takes every node out for maintenance at once while a new one comes, and back in while that one goes.
func maintenanceOfAll(t *testing.T, b *bed) {
	temporary := otherNodes[2]
	for range 2 {
		b.Register(t, temporary, temporary, harness.NodePort)
		for _, n := range healthyNodes {
			b.Maintain(t, n, true)
		}
		for _, n := range healthyNodes {
			b.waitOut(t, harness.Backend, n)
		}
		for _, n := range healthyNodes {
			b.Maintain(t, n, false)
		}
		require.NoError(t, b.Agent().ServiceDeregister(temporary))
		b.waitOut(t, harness.Backend, temporary)
		b.waitHealthy(t)
	}
}

// waitOut waits until a node gets no new request. In watch mode its slot may stay as it drains until the next change.
func (b *bed) waitOut(t *testing.T, backend, node string) {
	t.Helper()
	harness.Eventually(t, 30*time.Second, node+" is out of service", func() error {
		if got := b.Slots(t, backend)[harness.At(node)].Status; got == harness.Up.Status {
			return fmt.Errorf("it is %s", got)
		}
		return nil
	})
}

// moveOnlyPoWNode registers the only node for proof of work again, at another address, there and back.
func moveOnlyPoWNode(t *testing.T, b *bed) {
	addresses := []string{otherNodes[2], otherNodes[3]}
	register := func(addr string) {
		b.Register(t, "pow", addr, harness.NodePort, "haproxy.pow=only")
		b.WaitSlot(t, harness.PoWBackend, harness.At(addr), harness.Slot{Status: harness.Up.Status, Weight: "1", MaxConn: "1"})
	}
	for _, n := range addresses {
		harness.SetNode(t, n, `{"pow": true}`)
	}
	register(addresses[0])
	b.pow = harness.StartPoWWallets(b.URL)
	b.pow.WaitSent(t, 100)
	for i := range 4 {
		register(addresses[(i+1)%2])
		b.waitOut(t, harness.PoWBackend, addresses[i%2])
		b.pow.WaitSent(t, 100)
	}
}
