//go:build integration

package handler

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

func TestSlotChangedByHandIsPutBackAlsoWhileOthersChange(t *testing.T) {
	b := newBed(t)
	b.Run(t)
	addr := harness.At(harness.NodeA)
	b.Register(t, "a", harness.NodeA, harness.NodePort, "haproxy.maxconn=7")
	b.Register(t, "b", harness.NodeB, harness.NodePort)
	want := harness.Slot{Status: "no check", Weight: "1", MaxConn: "7"}
	b.WaitSlot(t, harness.Backend, addr, want)
	name := harness.Backend + "/" + b.Slots(t, harness.Backend)[addr].Name
	for i := range 2 {
		for _, command := range []string{"set server " + name + " state maint", "set server " + name + " weight 100", "set maxconn server " + name + " 9"} {
			_, err := b.Command(command)
			require.NoError(t, err)
		}
		changes := 0
		harness.Eventually(t, 5*b.Config.ResyncInterval, fmt.Sprintf("round %d: it is put back", i), func() error {
			if got := b.Slots(t, harness.Backend)[addr]; got.MaxConn == "7" {
				return nil
			}
			changes++
			b.Register(t, "b", harness.NodeB, harness.NodePort, fmt.Sprint("other=", changes))
			harness.Keep(100 * time.Millisecond) // the rate of the changes: ten a second
			return fmt.Errorf("after %d changes of another node it is not", changes)
		})
		b.WaitSlot(t, harness.Backend, addr, want)
	}
	_, metrics := b.Get(t, "/metrics")
	assert.Regexp(t, `iri_lb_handler_drift_total\{pool="default"\} [1-9]`, metrics)
}
