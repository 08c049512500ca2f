//go:build integration

package handler

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// HAProxy's first check of a server that was set to DOWN comes one whole interval later. An operator may choose a long one.
func TestNodeThatPassesIsUpLongBeforeHAProxysOwnCheckWouldCome(t *testing.T) {
	const own = 10 * time.Second
	b := harness.NewBed(t, harness.WithSlots(20), harness.WithVars(harness.Vars{"haproxy_check_interval": own.String()}))
	b.Run(t)
	nodeB := harness.At(harness.NodeB)
	for _, n := range []string{harness.NodeA, harness.NodeB} {
		harness.StartNode(t, n)
		b.Register(t, n, n, harness.NodePort)
		b.WaitSlot(t, harness.Backend, harness.At(n), harness.Up)
	}
	wallets := harness.StartWallets(b.URL)
	var took []time.Duration
	for range 16 {
		b.SetHealth(t, harness.NodeB, api.HealthCritical)
		b.WaitSlot(t, harness.Backend, nodeB, harness.InMaintenance)
		began := time.Now()
		b.SetHealth(t, harness.NodeB, api.HealthPassing)
		harness.Eventually(t, own/2, "the node is up", func() error {
			if got := b.Slots(t, harness.Backend)[nodeB].Status; got != harness.Up.Status {
				return fmt.Errorf("it is %q", got)
			}
			return nil
		})
		took = append(took, time.Since(began).Round(time.Millisecond))
	}
	wallets.Stop(t)
	slices.Sort(took)
	t.Logf("from Consul's passing to UP in HAProxy: median %s, longest %s of %d (race detector on)", took[len(took)/2], took[len(took)-1], len(took))
}
