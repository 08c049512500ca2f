//go:build integration

package handler

import (
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/assert"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

func TestNodeInWarningGetsQuarterOfItsShare(t *testing.T) {
	b := newBed(t)
	nodeA, nodeB := harness.At(harness.NodeA), harness.At(harness.NodeB)
	b.Register(t, "a", harness.NodeA, harness.NodePort)
	b.Register(t, "b", harness.NodeB, harness.NodePort)
	b.Run(t)
	b.WaitSlot(t, harness.Backend, nodeB, harness.InService)
	b.SetHealth(t, "a", api.HealthWarning)
	b.WaitSlot(t, harness.Backend, nodeA, harness.Slot{Status: "no check", Weight: "1"})
	b.WaitSlot(t, harness.Backend, nodeB, harness.Slot{Status: "no check", Weight: "4"})
	b.SetHealth(t, "a", api.HealthPassing)
	b.WaitSlot(t, harness.Backend, nodeA, harness.InService)
	b.WaitSlot(t, harness.Backend, nodeB, harness.InService)
	b.Register(t, "a", harness.NodeA, harness.NodePort, "haproxy.weight=100")
	b.SetHealth(t, "a", api.HealthWarning)
	b.WaitSlot(t, harness.Backend, nodeA, harness.Slot{Status: "no check", Weight: "25"})
	b.WaitSlot(t, harness.Backend, nodeB, harness.InService)
}

func TestNodeReturnsOnlyAfterReturnDelay(t *testing.T) {
	b := newBed(t)
	b.Change(t, func(c *harness.HandlerConfig) { c.ReturnDelay = 1500 * time.Millisecond })
	addr := harness.At(harness.NodeA)
	b.Register(t, "a", harness.NodeA, harness.NodePort)
	b.Run(t)
	b.WaitSlot(t, harness.Backend, addr, harness.InService) // healthy on the first read: no return delay
	b.SetHealth(t, "a", api.HealthCritical)
	b.WaitSlot(t, harness.Backend, addr, harness.InMaintenance)
	harness.Keep(time.Second) // the delay counts from the check that passes, not from the one that failed
	b.SetHealth(t, "a", api.HealthPassing)
	began := time.Now()
	b.WaitSlot(t, harness.Backend, addr, harness.InService)
	assert.Greater(t, time.Since(began), 1400*time.Millisecond)
}

// As installed: HAProxy's own check has to pass first. Consul's check passes all the time for a node where nobody listens.
func TestNoRequestIsSentBeforeHAProxysOwnCheckPasses(t *testing.T) {
	b := harness.NewBed(t, harness.WithSlots(20))
	b.Run(t)
	nodeA, nodeB, nodeC := harness.At(harness.NodeA), harness.At(harness.NodeB), harness.At(harness.NodeC)
	harness.StartNode(t, harness.NodeA)
	b.Register(t, "good", harness.NodeA, harness.NodePort)
	b.WaitSlot(t, harness.Backend, nodeA, harness.Up)
	wallets := harness.StartWallets(b.URL)
	b.Register(t, "dead", harness.NodeB, harness.NodePort)
	for range 10 {
		b.SetHealth(t, "dead", api.HealthPassing)
		b.WaitSlot(t, harness.Backend, nodeB, harness.Down)
		wallets.WaitSent(t, 50)
		assert.Equal(t, "0", b.Requests(t, nodeB))
		b.SetHealth(t, "dead", api.HealthCritical)
		b.WaitSlot(t, harness.Backend, nodeB, harness.InMaintenance)
	}
	harness.StartNode(t, harness.NodeC)
	b.Register(t, "new", harness.NodeC, harness.NodePort)
	b.WaitSlot(t, harness.Backend, nodeC, harness.Up)
	b.WaitRequests(t, nodeC)
	wallets.Stop(t)
}
