//go:build integration

package handler

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

func TestSyncReconcilesOnceAndExits(t *testing.T) {
	b := newBed(t)
	b.Register(t, "a", harness.NodeA, harness.NodePort)
	b.RequireHandler(t, "sync")
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.InService)
	require.NoError(t, b.Agent().ServiceDeregister("a"))
	b.RequireHandler(t, "sync")
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.NoSlot)
}

func TestSyncGivesUpWithReasonWhenConsulIsAway(t *testing.T) {
	h := harness.StartHAProxy(t, harness.WithSlots(20), harness.WithoutHealthChecks())
	config := h.Dir + "/config.yml"
	h.HandlerConfig(t, nobody).Write(t, config)
	code, log := harness.RunProgram(t, "iri-lb-handler", "sync", "--config", config, "--timeout", "2s")
	assert.Equal(t, 1, code)
	assert.Contains(t, log, "connection refused")
	assert.Contains(t, log, "127.0.0.1:9")
}

func TestManyReconciliationsAtOnceAreSafe(t *testing.T) {
	b := newBed(t)
	b.Run(t)
	for i := range 15 {
		b.Register(t, fmt.Sprint(i), fmt.Sprintf("127.0.2.%d", i+1), harness.NodePort)
	}
	var running []*harness.Process
	for range 8 {
		running = append(running, harness.StartProgram(t, "iri-lb-handler", "sync", "--config", b.ConfigFile))
	}
	for _, p := range running {
		require.NoError(t, p.Wait(), p.Log())
	}
	assert.Len(t, b.Slots(t, harness.Backend), 15)
	for addr, s := range b.Slots(t, harness.Backend) {
		assert.Equal(t, "no check", s.Status, addr)
	}
}
