//go:build integration

package handler

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

func TestTwoThousandNodesFillTwoPoolsOfTwoThousandSlots(t *testing.T) {
	const n = 2000
	b := harness.NewBed(t, harness.WithSlots(n), harness.WithoutHealthChecks())
	b.RegisterMany(t, n, "haproxy.pow=true")
	began := time.Now()
	b.RequireHandler(t, "sync")
	t.Logf("both pools were filled after %s (race detector on)", time.Since(began).Round(time.Millisecond))
	for _, backend := range []string{harness.Backend, harness.PoWBackend} {
		slots := b.Slots(t, backend)
		require.Len(t, slots, n)
		for addr, s := range slots {
			require.Equal(t, "no check", s.Status, addr)
		}
	}

	// One more than there are slots waits, and is reported once.
	b.Register(t, "one-too-many", harness.NodeA, harness.NodePort)
	b.Run(t)
	harness.Eventually(t, 20*time.Second, "the node that waits is reported", func() error {
		if n := harness.CountLines(b.Daemon.Log(), "more nodes than slots"); n != 1 {
			return fmt.Errorf("%d lines", n)
		}
		return nil
	})
	// It gets the next slot that is free.
	_, err := b.Catalog().Deregister(&api.CatalogDeregistration{Node: "many", ServiceID: "many7"}, nil)
	require.NoError(t, err)
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.InService)
	b.WaitSlotCount(t, harness.Backend, n)
	b.WaitSlotCount(t, harness.PoWBackend, n-1)
}
