//go:build integration

package integration

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/require"
)

// registerMany adds services through the catalog, in transactions of 64, which is
// Consul's limit.
func (c *consul) registerMany(t *testing.T, n int, tags ...string) {
	t.Helper()
	_, err := c.Catalog().Register(&api.CatalogRegistration{Node: "many", Address: "127.0.0.1"}, nil)
	require.NoError(t, err)
	for start := 0; start < n; start += 64 {
		var ops api.TxnOps
		for i := start; i < min(start+64, n); i++ {
			ops = append(ops, &api.TxnOp{Service: &api.ServiceTxnOp{
				Verb: api.ServiceSet, Node: "many",
				Service: api.AgentService{
					ID: fmt.Sprint("many", i), Service: "iri", Address: many(i), Port: nodePort, Tags: tags,
				},
			}})
		}
		ok, answer, _, err := c.Txn().Txn(ops, nil)
		require.NoError(t, err)
		require.True(t, ok, "%+v", answer)
	}
}

// many is the address of the i-th of many nodes.
func many(i int) string { return fmt.Sprintf("127.9.%d.%d", i/250, i%250+1) }

func TestTwoThousandNodesFillTwoPoolsOfTwoThousandSlots(t *testing.T) {
	const n = 2000
	b := &bed{consul: startConsul(t), haproxy: startHAProxy(t, n)}
	b.config = b.writeHandlerConfig(t, b.consul.address)
	b.registerMany(t, n, "haproxy.pow=true")
	began := time.Now()
	code, log := runProgram(t, "iri-lb-handler", "sync", "--config", b.config)
	require.Zero(t, code, log)
	t.Logf("both pools were filled after %s (race detector on)", time.Since(began).Round(time.Millisecond))
	for _, backend := range []string{"iri_back", "iri_pow_back"} {
		slots := b.slots(t, backend)
		require.Len(t, slots, n)
		for addr, s := range slots {
			require.Equal(t, "no check", s.status, addr)
		}
	}

	// One more than there are slots waits, and is told of.
	b.register(t, "one-too-many", nodeA, nodePort)
	b.run(t)
	eventually(t, 20*time.Second, "the node that waits is told of", func() error {
		if n := countLines(b.daemon.log.String(), "more nodes than slots"); n != 1 {
			return fmt.Errorf("%d lines", n)
		}
		return nil
	})
	// A slot that becomes free is given to it at once.
	_, err := b.Catalog().Deregister(&api.CatalogDeregistration{Node: "many", ServiceID: "many7"}, nil)
	require.NoError(t, err)
	b.waitSlot(t, "iri_back", at(nodeA), up)
	for backend, want := range map[string]int{"iri_back": n, "iri_pow_back": n - 1} {
		eventually(t, 10*time.Second, fmt.Sprintf("%s has %d nodes", backend, want), func() error {
			if got := len(b.slots(t, backend)); got != want {
				return fmt.Errorf("it has %d", got)
			}
			return nil
		})
	}
}
