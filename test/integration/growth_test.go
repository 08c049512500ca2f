//go:build integration

package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	dc "github.com/ory/dockertest/v3/docker"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// smallBed has two slots of each kind and may grow.
func smallBed(t *testing.T, overflow bool) *bed {
	t.Helper()
	b := &bed{consul: startConsul(t), haproxy: startHAProxy(t, 2)}
	b.config = b.writeHandlerConfig(t, b.consul.address, "haproxy: {", fmt.Sprintf("haproxy: {slot_overflow: %t, ca_file: %s/ca.pem, ", overflow, b.dir))
	for _, n := range crowd {
		startNode(t, n)
		b.register(t, n, n, nodePort, "haproxy.weight=3", "haproxy.maxconn=9")
	}
	return b
}

func TestNodesBeyondTheSlotsWaitAndAreToldOf(t *testing.T) {
	b := smallBed(t, false)
	b.run(t)
	eventually(t, 10*time.Second, "two wait", func() error {
		if text := b.readyz(t); !strings.Contains(text, "pool default: 2 nodes wait for a slot") {
			return fmt.Errorf("%s", text)
		}
		return nil
	})
	_, metrics := b.get(t, "/metrics")
	assert.Contains(t, metrics, `iri_lb_handler_nodes_waiting{pool="default",socket="`+b.dir+`/admin.sock"} 2`)
	in := b.slots(t, "iri_back")
	require.Len(t, in, 2)
	for addr := range in { // one leaves: its slot is given away at once
		require.NoError(t, b.Agent().ServiceDeregister(strings.TrimSuffix(addr, fmt.Sprint(":", nodePort))))
		b.waitSlot(t, "iri_back", addr, slot{})
		break
	}
	eventually(t, 10*time.Second, "two serve", func() error {
		if n := len(b.slots(t, "iri_back")); n != 2 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	assert.Contains(t, b.readyz(t), "1 nodes wait")
}

func TestServersAreAddedForNodesBeyondTheSlotsAndRemovedWithThem(t *testing.T) {
	b := smallBed(t, true)
	startNode(t, "127.0.1.5", "-cert", b.dir+"/ca.pem", "-key", b.dir+"/key.pem")
	b.run(t)
	want := slot{status: "no check", weight: "3", maxconn: "9"}
	for _, n := range crowd {
		b.waitSlot(t, "iri_back", at(n), want)
	}
	added := func() (n int) {
		for _, s := range b.slots(t, "iri_back") {
			n += strings.Count(s.name, "http-overflow")
		}
		return n
	}
	assert.Equal(t, 2, added())
	seen := map[string]bool{}
	for range 8 {
		who, err := ask(b.url, "")
		require.NoError(t, err)
		seen[who] = true
	}
	assert.Len(t, seen, 4, "all of them answer")

	tr := startTraffic(t, b.url)
	code, log := runProgram(t, "iri-lb-handler", "reload", "--config", b.config)
	require.Zero(t, code, log)
	for _, n := range crowd {
		b.waitSlot(t, "iri_back", at(n), want)
	}
	tr.stop(t)

	for _, n := range crowd[:3] {
		require.NoError(t, b.Agent().ServiceDeregister(n))
		b.waitSlot(t, "iri_back", at(n), slot{})
	}
	eventually(t, 10*time.Second, "no more servers than are needed", func() error {
		out, err := b.command("show servers state iri_back")
		if n := strings.Count(out, "overflow"); n > 1 {
			return fmt.Errorf("%d added servers are left", n)
		}
		return err
	})
	b.waitSlot(t, "iri_back", at(crowd[3]), want)
}

func TestOneHandlerServesSeveralHAProxies(t *testing.T) {
	c := startConsul(t)
	one, two := startHAProxy(t, 5), startHAProxy(t, 5)
	b := &bed{consul: c, haproxy: one}
	b.config = one.writeHandlerConfig(t, c.address, "admin_sockets: [", "admin_sockets: ["+two.dir+"/admin.sock, ",
		", sni_map: "+one.dir+"/iri_back.sni", "")
	b.register(t, "a", nodeA, nodePort)
	b.run(t)
	for _, h := range []*haproxy{one, two} {
		h.waitSlot(t, "iri_back", at(nodeA), up)
	}
	id := two.container.Container.ID
	require.NoError(t, docker.Client.KillContainer(dc.KillContainerOptions{ID: id}))
	eventually(t, 10*time.Second, "the one that is away is named", func() error {
		if text := b.readyz(t); !strings.Contains(text, "HAProxy at "+two.dir) {
			return fmt.Errorf("%s", text)
		}
		return nil
	})
	b.register(t, "b", nodeB, nodePort)
	one.waitSlot(t, "iri_back", at(nodeB), up)
	require.NoError(t, docker.Client.StartContainer(id, nil))
	two.waitSlot(t, "iri_back", at(nodeB), up)
}
