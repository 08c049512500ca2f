//go:build integration

package handler

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// silent passes and fails without a word. Consul takes the status 1 for a warning, and any other for a failure.
const silent = "test ! -e /tmp/broken || exit 2"

// Consul starts a check as critical without output. One that fails without output looks the same.
func TestNodeWhoseCheckFailsWithoutOutputGoesOutOfService(t *testing.T) {
	b := harness.NewBed(t, harness.WithSlots(20))
	b.Run(t)
	for _, n := range []string{harness.NodeA, harness.NodeB} {
		harness.StartNode(t, n)
	}
	b.RegisterWithCommand(t, "a", harness.NodeA, harness.NodePort, silent)
	b.Register(t, "b", harness.NodeB, harness.NodePort)
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.Up)
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeB), harness.Up)
	wallets := harness.StartWallets(b.URL)
	b.Consul.Container.Exec(t, "touch /tmp/broken")
	harness.Eventually(t, time.Minute, "the node leaves", func() error {
		if got := b.Slots(t, harness.Backend)[harness.At(harness.NodeA)].Status; got != harness.InMaintenance.Status {
			return fmt.Errorf("it is %q", got)
		}
		return nil
	})
	assert.Contains(t, b.Daemon.Log(), "critical without output")
	b.Consul.Container.Exec(t, "rm /tmp/broken")
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.Up)
	wallets.Stop(t)
}

func TestNodeWhoseCheckPassesWithoutOutputServesOverRestartOfConsul(t *testing.T) {
	b := harness.NewBed(t, harness.WithSlots(20))
	b.Run(t)
	harness.StartNode(t, harness.NodeA)
	b.RegisterWithCommand(t, "a", harness.NodeA, harness.NodePort, silent)
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.Up)
	wallets := harness.StartWallets(b.URL)
	for range 2 {
		b.Consul.Container.Kill(t)
		b.Consul.Container.WaitStopped(t)
		b.Consul.Container.StartAgain(t)
		b.WaitLeader(t)
		// Longer than interval and timeout of the check.
		harness.Throughout(t, 5*time.Second, "the node serves", func() error {
			if got := b.Slots(t, harness.Backend)[harness.At(harness.NodeA)].Status; got != harness.Up.Status {
				return fmt.Errorf("it is %q", got)
			}
			return nil
		})
		b.WaitPassing(t, 1)
	}
	wallets.Stop(t)
	assert.NotContains(t, b.Daemon.Log(), "critical without output")
}

// Consul is away before it has run any check again: what it said last is no verdict on the node, however old it is.
func TestNodeServesWhileConsulIsAwayAgainBeforeItsFirstCheck(t *testing.T) {
	b := harness.NewBed(t, harness.WithSlots(20))
	b.Run(t)
	harness.StartNode(t, harness.NodeA)
	require.NoError(t, b.Agent().ServiceRegister(&api.AgentServiceRegistration{
		ID: "a", Name: "iri", Address: harness.NodeA, Port: harness.NodePort,
		// The first run comes after a random part of the interval.
		Check: &api.AgentServiceCheck{Args: []string{"sh", "-c", silent}, Interval: "5s", Timeout: "1s"},
	}))
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.Up)
	wallets := harness.StartWallets(b.URL)
	harness.Eventually(t, 2*time.Minute, "Consul is killed before its first check", func() error {
		b.Consul.Container.Kill(t)
		b.Consul.Container.WaitStopped(t)
		b.Consul.Container.StartAgain(t)
		b.WaitLeader(t)
		harness.Keep(500 * time.Millisecond) // the daemon sees the answer
		entries, _, err := b.Health().Service("iri", "", false, nil)
		if err != nil {
			return err
		}
		if len(entries) != 1 || entries[0].Checks.AggregatedStatus() != api.HealthCritical {
			return errors.New("the check has passed already")
		}
		b.Consul.Container.Kill(t)
		return nil
	})
	harness.Throughout(t, 9*time.Second, "the node serves", func() error {
		if got := b.Slots(t, harness.Backend)[harness.At(harness.NodeA)].Status; got != harness.Up.Status {
			return fmt.Errorf("it is %q", got)
		}
		return nil
	})
	wallets.Stop(t)
}
