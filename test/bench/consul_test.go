//go:build integration

package bench

import (
	"fmt"
	"sync"
	"testing"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

func benchID(service string, i int) string { return fmt.Sprintf("%s-%d", service, i) }

var benchTags = []string{"haproxy.weight=10", "haproxy.maxconn=100"}

// fill registers n nodes of a service. The first few are the agent's own, with a TTL check that the benchmark sets; the
// others belong to another Consul node and always pass. In an answer of Consul they look the same.
func fill(t *testing.T, c *harness.Consul, service string, own, n int, tags ...string) {
	t.Helper()
	tags = append(tags, benchTags...)
	fillAgent(t, c, service, min(own, n), tags)
	node := "many-" + service
	_, err := c.Catalog().Register(&api.CatalogRegistration{Node: node, Address: "127.0.0.1"}, nil)
	require.NoError(t, err)
	const most = 32 // 64 operations are Consul's limit for a transaction
	for start := own; start < n; start += most {
		var ops api.TxnOps
		for i := start; i < min(start+most, n); i++ {
			id := benchID(service, i)
			ops = append(ops, &api.TxnOp{Service: &api.ServiceTxnOp{
				Verb: api.ServiceSet, Node: node,
				Service: api.AgentService{
					ID: id, Service: service, Address: harness.ManyAddress(i), Port: harness.NodePort, Tags: tags,
					Weights: api.AgentWeights{Passing: 1, Warning: 1},
				},
			}}, &api.TxnOp{Check: &api.CheckTxnOp{
				Verb: api.CheckSet,
				Check: api.HealthCheck{
					Node: node, CheckID: "service:" + id, Name: "Service '" + service + "' check", Status: api.HealthPassing,
					Output: benchOutput, ServiceID: id, ServiceName: service, Type: "ttl",
				},
			}})
		}
		ok, answer, _, err := c.Txn().Txn(ops, nil)
		require.NoError(t, err)
		require.True(t, ok, "%+v", answer)
	}
}

// benchOutput is as long as a line of iri-node-check.
const benchOutput = "OK: IRI 1.8.6, milestone 1234567 is the latest, 8 neighbors"

func fillAgent(t *testing.T, c *harness.Consul, service string, n int, tags []string) {
	t.Helper()
	next := make(chan int)
	errs := make(chan error, 8)
	var group sync.WaitGroup
	for range cap(errs) {
		group.Go(func() {
			var failed error
			for i := range next {
				id := benchID(service, i)
				err := c.Agent().ServiceRegister(&api.AgentServiceRegistration{
					ID: id, Name: service, Address: harness.ManyAddress(i), Port: harness.NodePort, Tags: tags,
					Check: &api.AgentServiceCheck{CheckID: "service:" + id, TTL: "24h", Status: api.HealthPassing},
				})
				if err != nil {
					failed = err
				}
			}
			errs <- failed
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	group.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
}
