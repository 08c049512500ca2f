//go:build integration

package handler

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// Everything here has HAProxy's own checks, as installed: a node that comes is DOWN until it has answered.

func TestOnlyNodeOfPoWPoolMovesToAnotherAddressWithoutLoss(t *testing.T) {
	b := harness.NewBed(t, harness.WithSlots(20))
	b.Run(t)
	up := harness.Slot{Status: "UP", Weight: "1", MaxConn: "1"}
	harness.StartNode(t, harness.NodeA, "-pow")
	b.Register(t, "pow", harness.NodeA, harness.NodePort, "haproxy.pow=only")
	b.WaitSlot(t, harness.PoWBackend, harness.At(harness.NodeA), up)
	wallets := harness.StartPoWWallets(b.URL)
	wallets.WaitSent(t, 200)

	harness.StartNode(t, harness.NodeB, "-pow")
	b.Register(t, "pow", harness.NodeB, harness.NodePort, "haproxy.pow=only")
	b.WaitSlot(t, harness.PoWBackend, harness.At(harness.NodeB), up)
	b.WaitSlot(t, harness.PoWBackend, harness.At(harness.NodeA), harness.NoSlot)
	wallets.WaitSent(t, 200)
	wallets.Stop(t)
}

func TestNodeThatHasJustReturnedReplacesOneInMaintenanceWithoutLoss(t *testing.T) {
	b := harness.NewBed(t, harness.WithSlots(20))
	b.Run(t)
	nodeA, nodeB := harness.At(harness.NodeA), harness.At(harness.NodeB)
	for _, n := range []string{harness.NodeA, harness.NodeB} {
		harness.StartNode(t, n)
		b.Register(t, n, n, harness.NodePort)
		b.WaitSlot(t, harness.Backend, harness.At(n), harness.Up)
	}
	b.SetHealth(t, harness.NodeB, api.HealthCritical)
	b.WaitSlot(t, harness.Backend, nodeB, harness.InMaintenance)
	wallets := harness.StartWallets(b.URL)
	wallets.WaitSent(t, 200)

	b.SetHealth(t, harness.NodeB, api.HealthPassing)
	harness.Keep(2 * time.Second) // how long it has been back
	b.Maintain(t, harness.NodeA, true)
	b.WaitSlot(t, harness.Backend, nodeB, harness.Up)
	b.WaitSlot(t, harness.Backend, nodeA, harness.InMaintenance)
	wallets.WaitSent(t, 200)
	wallets.Stop(t)
}

func TestFiveNodesGoOutAndInAgainAroundTemporaryOneWithoutLoss(t *testing.T) {
	b := harness.NewBed(t, harness.WithSlots(20))
	b.Run(t)
	var five []string
	for i := range 5 {
		n := fmt.Sprintf("127.0.1.%d", 11+i)
		harness.StartNode(t, n)
		b.Register(t, n, n, harness.NodePort)
		five = append(five, n)
	}
	for _, n := range five {
		b.WaitSlot(t, harness.Backend, harness.At(n), harness.Up)
	}
	wallets := harness.StartWallets(b.URL)
	wallets.WaitSent(t, 200)

	harness.StartNode(t, harness.NodeC)
	b.Register(t, "temporary", harness.NodeC, harness.NodePort)
	for _, n := range five {
		b.Maintain(t, n, true)
	}
	for _, n := range five {
		b.WaitSlot(t, harness.Backend, harness.At(n), harness.InMaintenance)
	}
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeC), harness.Up)

	for _, n := range five {
		b.Maintain(t, n, false)
	}
	require.NoError(t, b.Agent().ServiceDeregister("temporary"))
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeC), harness.NoSlot)
	for _, n := range five {
		b.WaitSlot(t, harness.Backend, harness.At(n), harness.Up)
	}
	wallets.WaitSent(t, 200)
	wallets.Stop(t)
}

// The new node answers too late for the handler's own query, so that only HAProxy's check can bring it up.
func TestLastServerStaysInServiceUntilHAProxysCheckOfItsReplacementPasses(t *testing.T) {
	b := harness.NewBed(t, harness.WithSlots(20), harness.WithVars(harness.Vars{"haproxy_check_timeout": "5s"}))
	b.Run(t)
	nodeA, nodeB := harness.At(harness.NodeA), harness.At(harness.NodeB)
	harness.StartNode(t, harness.NodeA)
	b.Register(t, "a", harness.NodeA, harness.NodePort)
	b.WaitSlot(t, harness.Backend, nodeA, harness.Up)
	wallets := harness.StartWallets(b.URL)
	wallets.WaitSent(t, 200)

	harness.StartNode(t, harness.NodeB)
	harness.SetNode(t, harness.NodeB, `{"delay": "1500ms"}`)
	b.Register(t, "b", harness.NodeB, harness.NodePort)
	b.Maintain(t, "a", true)
	b.WaitLog(t, "should leave but stays in service")
	assert.Equal(t, harness.Up.Status, b.Slots(t, harness.Backend)[nodeA].Status)
	b.WaitSlot(t, harness.Backend, nodeB, harness.Up)
	b.WaitSlot(t, harness.Backend, nodeA, harness.InMaintenance)
	wallets.WaitSent(t, 4)
	wallets.Stop(t)
}

// A node that fails leaves at once, even as the last one: a request must not be sent to a node that is known to fail.
func TestLastServerWhoseNodeFailsLeavesWithoutReplacement(t *testing.T) {
	b := harness.NewBed(t, harness.WithSlots(20))
	b.Run(t)
	nodeA, nodeB := harness.At(harness.NodeA), harness.At(harness.NodeB)
	harness.StartNode(t, harness.NodeA)
	b.Register(t, "a", harness.NodeA, harness.NodePort)
	b.WaitSlot(t, harness.Backend, nodeA, harness.Up)
	b.Register(t, "nobody listens", harness.NodeB, harness.NodePort)
	b.WaitSlot(t, harness.Backend, nodeB, harness.Down)
	b.SetHealth(t, "a", api.HealthCritical)
	b.WaitSlot(t, harness.Backend, nodeA, harness.InMaintenance)
}
