//go:build integration

package handler

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// registerSlowly adds a node as the README does: Consul's first check comes at a random time within its interval.
func registerSlowly(t *testing.T, b *harness.Bed, addr string) {
	t.Helper()
	require.NoError(t, b.Agent().ServiceRegister(&api.AgentServiceRegistration{
		ID: addr, Name: "iri", Address: addr, Port: harness.NodePort,
		Check: &api.AgentServiceCheck{
			Args:     []string{"/scripts/iri-node-check", "-a", "http://" + harness.At(addr), "-i", "-w", "8", "-t", "8"},
			Interval: "30s", Timeout: "10s",
		},
	}))
}

func TestNewNodeServesLongBeforeConsulsFirstCheck(t *testing.T) {
	const count, interval = 12, 30 * time.Second
	b := harness.NewBed(t, harness.WithSlots(30))
	b.Run(t)
	b.WaitReady(t)
	for name, register := range map[string]func(addr string){
		"at the agent":   func(addr string) { registerSlowly(t, b, addr) },
		"in the catalog": func(addr string) { add(t, b, addr) },
	} {
		var took []time.Duration
		for i := range count {
			addr := fmt.Sprintf("127.0.%d.%d", 20+len(name), i+1)
			harness.StartNode(t, addr)
			began := time.Now()
			register(addr)
			harness.Eventually(t, interval/3, "the node serves", func() error {
				if got := b.Slots(t, harness.Backend)[harness.At(addr)].Status; got != harness.Up.Status {
					return fmt.Errorf("it is %q", got)
				}
				return nil
			})
			took = append(took, time.Since(began).Round(time.Millisecond))
		}
		slices.Sort(took)
		t.Logf("registered %s until UP in HAProxy: median %s, longest %s of %d (race detector on)", name, took[count/2], took[count-1], count)
	}

	// One that is out of sync waits for Consul, which finds the same.
	const behind = "127.0.1.9"
	harness.StartNode(t, behind)
	harness.SetNode(t, behind, `{"behind": 5}`)
	registerSlowly(t, b, behind)
	b.WaitLog(t, "a new node waits for Consul's check, because it does not pass this host's: node=127.0.1.9")
	harness.Throughout(t, 5*time.Second, "it stays out", func() error {
		if s, found := b.Slots(t, harness.Backend)[harness.At(behind)]; found && s.Status != harness.InMaintenance.Status {
			return fmt.Errorf("it is %q", s.Status)
		}
		return nil
	})
}

// Consul does not pass on that the first check has failed: only that it is overdue tells.
func TestNewNodeLeavesWhenConsulsFirstCheckFails(t *testing.T) {
	b := harness.NewBed(t)
	b.Run(t)
	b.WaitReady(t)
	harness.StartNode(t, harness.NodeA)
	b.RegisterWithCommand(t, harness.NodeA, harness.NodeA, harness.NodePort, "sleep 1; echo it has too few neighbors; exit 2")
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.Up)
	began := time.Now()
	harness.Eventually(t, 15*time.Second, "it leaves", func() error {
		if got := b.Slots(t, harness.Backend)[harness.At(harness.NodeA)].Status; got != harness.InMaintenance.Status {
			return fmt.Errorf("it is %q", got)
		}
		return nil
	})
	t.Logf("it left after %s", time.Since(began).Round(time.Second))
	b.WaitLog(t, "critical without output for longer than its interval and its timeout")
}

func TestNodesThatAreOutStayOutWhenConsulIsRestarted(t *testing.T) {
	b := harness.NewBed(t, harness.WithSlots(20))
	b.Run(t)
	for _, n := range []string{harness.NodeA, harness.NodeB} {
		harness.StartNode(t, n)
		// The check is the operator's own: it fails although the node is healthy.
		b.RegisterWithCommand(t, n, n, harness.NodePort, "test ! -e /tmp/"+n+" || { echo broken; exit 2; }")
		b.WaitSlot(t, harness.Backend, harness.At(n), harness.Up)
	}
	b.Consul.Container.Exec(t, "touch /tmp/"+harness.NodeB)
	b.Maintain(t, harness.NodeA, true)
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.InMaintenance)
	harness.Eventually(t, time.Minute, "the other one leaves", func() error {
		if got := b.Slots(t, harness.Backend)[harness.At(harness.NodeB)].Status; got != harness.InMaintenance.Status {
			return fmt.Errorf("it is %q", got)
		}
		return nil
	})
	b.Consul.Container.Kill(t)
	b.Consul.Container.WaitStopped(t)
	b.Consul.Container.StartAgain(t)
	b.WaitLeader(t)
	harness.Throughout(t, 10*time.Second, "both stay out", func() error {
		for _, n := range []string{harness.NodeA, harness.NodeB} {
			if got := b.Slots(t, harness.Backend)[harness.At(n)].Status; got != harness.InMaintenance.Status {
				return fmt.Errorf("%s is %q", n, got)
			}
		}
		return nil
	})
	assert.NotContains(t, b.Daemon.Log(), "a new node serves")
}
