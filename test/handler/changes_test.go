//go:build integration

package handler

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

func TestChangeInConsulReachesHAProxyWithoutReload(t *testing.T) {
	b := newBed(t)
	nodes := []string{harness.NodeA, harness.NodeB, harness.NodeC}
	for _, n := range nodes {
		harness.StartNode(t, n)
		b.Register(t, n, n, harness.NodePort)
	}
	b.Run(t)
	for _, n := range nodes {
		b.WaitSlot(t, harness.Backend, harness.At(n), harness.InService)
	}
	assert.Empty(t, b.Slots(t, harness.PoWBackend))
	answered := map[string]int{}
	for range 9 {
		node, err := harness.Ask(b.URL)
		require.NoError(t, err)
		answered[node]++
	}
	assert.Equal(t, map[string]int{harness.NodeA: 3, harness.NodeB: 3, harness.NodeC: 3}, answered)

	worker := b.Info(t, "Pid")
	var took []time.Duration
	for range 20 {
		b.SetHealth(t, harness.NodeA, api.HealthCritical)
		began := time.Now()
		b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.InMaintenance)
		took = append(took, time.Since(began).Round(time.Millisecond))
		b.SetHealth(t, harness.NodeA, api.HealthPassing)
		b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.InService)
	}
	assert.NotContains(t, b.Daemon.Log(), "[WARN]")
	slices.Sort(took)
	t.Logf("from a failing check to maintenance in HAProxy: median %s, longest %s (race detector on)", took[len(took)/2], took[len(took)-1])

	require.NoError(t, b.Agent().ServiceDeregister(harness.NodeA))
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.NoSlot)
	assert.Equal(t, worker, b.Info(t, "Pid"), "HAProxy's worker is still the same")
}

func TestTagsAndTheirChangesAreApplied(t *testing.T) {
	b := newBed(t)
	b.Run(t)
	addr := harness.At(harness.NodeA)
	b.Register(t, "a", harness.NodeA, harness.NodePort, "haproxy.weight=7", "haproxy.maxconn=33")
	b.WaitSlot(t, harness.Backend, addr, harness.Slot{Status: "no check", Weight: "7", MaxConn: "33"})

	b.Register(t, "a", harness.NodeA, harness.NodePort, "haproxy.weight=9", "haproxy.maxconn=0", "haproxy.pow=true")
	b.WaitSlot(t, harness.Backend, addr, harness.Slot{Status: "no check", Weight: "9"})
	b.WaitSlot(t, harness.PoWBackend, addr, harness.Slot{Status: "no check", Weight: "9"})

	b.Register(t, "a", harness.NodeA, harness.NodePort, "haproxy.pow=only")
	b.WaitSlot(t, harness.Backend, addr, harness.NoSlot)
	b.WaitSlot(t, harness.PoWBackend, addr, harness.Slot{Status: "no check", Weight: "1", MaxConn: "1"})

	b.Register(t, "a", harness.NodeA, harness.NodePort, "haproxy.scheme=https", "haproxy.sslverify=0")
	b.WaitSlot(t, harness.PoWBackend, addr, harness.NoSlot)
	b.WaitSlot(t, harness.Backend, addr, harness.InService)
	assert.Contains(t, b.Slots(t, harness.Backend)[addr].Name, "https-noverify")
}

func TestHostileServiceHarmsNoOther(t *testing.T) {
	b := newBed(t)
	b.Run(t)
	b.Register(t, "good", harness.NodeA, harness.NodePort)
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.InService)
	for id, address := range map[string]string{
		"x; disable server iri_back/http1": "x; disable server iri_back/http1",
		"new\nline":                        "127.0.1.9\ndisable server iri_back/http1",
		"zone":                             "fe80::1%x;shutdown",
		"multicast":                        "224.0.0.1",
		"longname":                         strings.Repeat("x", 5000),
	} {
		b.RegisterUnchecked(t, id, address, harness.NodePort)
	}
	b.RegisterUnchecked(t, "port", "127.0.1.8", 70000)
	b.RegisterUnchecked(t, "placeholder", "127.0.0.1", 1)
	b.RegisterUnchecked(t, "tags", harness.NodeB, harness.NodePort, "haproxy.weight=1;disable server iri_back/http1", "haproxy.maxconn=-1",
		"haproxy.pow=perhaps", "haproxy.unknown=1", "haproxy.weight", "haproxy.weight=4294967297", "other=tag")
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeB), harness.InService)
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.InService)
	harness.Keep(b.Config.ResyncInterval + time.Second) // a warning that comes again comes with a resync
	assert.Len(t, b.Slots(t, harness.Backend), 2)
	for service, warnings := range map[string]int{
		"service=zone": 1, "service=port": 1, "service=multicast": 1, "service=placeholder": 1,
		`new\nline`: 1, `service="x; disable server`: 1, "service=longname": 1, "service=tags": 6,
	} {
		assert.Equal(t, warnings, harness.CountLines(b.Daemon.Log(), "[WARN]", service), "warnings of %s", service)
	}
}
