package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

// consul is as much of Consul as the catalog needs.
type consul struct {
	t *testing.T
	*httptest.Server
	// services are in the order of their registration.
	services []*api.CatalogService
	// writes count the transactions, and operations their longest.
	writes, operations int
	// token is what Consul asks for, "" for no ACLs.
	token string
	// refuse is the error of every transaction; agent is set when an agent has the name of the Consul node.
	refuse   string
	agent    bool
	filtered bool
}

func newConsul(t *testing.T) *consul {
	t.Helper()
	c := &consul{t: t}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/acl/token/self", func(w http.ResponseWriter, _ *http.Request) {
		if c.token == "" {
			http.Error(w, "ACL support disabled", http.StatusUnauthorized)
			return
		}
		http.Error(w, "token does not exist: ACL not found", http.StatusForbidden)
	})
	mux.HandleFunc("GET /v1/catalog/service/iri", func(w http.ResponseWriter, r *http.Request) {
		if c.token != "" && r.Header.Get("X-Consul-Token") != c.token {
			http.Error(w, "ACL not found", http.StatusForbidden)
			return
		}
		assert.True(t, r.URL.Query().Has("consistent"), "the list decides what is written")
		w.Header().Set("X-Consul-LastContact", "0") // without it the client reads no other header
		w.Header().Set("X-Consul-Results-Filtered-By-ACLs", fmt.Sprint(c.filtered))
		assert.NoError(t, json.NewEncoder(w).Encode(c.services))
	})
	mux.HandleFunc("GET /v1/health/node/iri-nodes", func(w http.ResponseWriter, _ *http.Request) {
		checks := api.HealthChecks{{CheckID: "disk"}}
		if c.agent {
			checks = append(checks, &api.HealthCheck{CheckID: "serfHealth"})
		}
		assert.NoError(t, json.NewEncoder(w).Encode(checks))
	})
	mux.HandleFunc("PUT /v1/txn", c.transaction)
	c.Server = httptest.NewServer(mux)
	t.Cleanup(c.Close)
	return c
}

func (c *consul) transaction(w http.ResponseWriter, r *http.Request) {
	var ops api.TxnOps
	assert.NoError(c.t, json.NewDecoder(r.Body).Decode(&ops))
	c.operations = max(c.operations, len(ops))
	if c.refuse != "" {
		w.WriteHeader(http.StatusConflict)
		assert.NoError(c.t, json.NewEncoder(w).Encode(api.TxnResponse{Errors: api.TxnErrors{{What: c.refuse}}}))
		return
	}
	c.writes++
	assert.Equal(c.t, "iri-nodes 127.0.0.1", ops[0].Node.Node.Node+" "+ops[0].Node.Node.Address)
	for _, op := range ops[1:] {
		s := op.Service
		for i, old := range c.services {
			if old.Node == s.Node && old.ServiceID == s.Service.ID {
				c.services = append(c.services[:i], c.services[i+1:]...)
				break
			}
		}
		if s.Verb == api.ServiceSet {
			c.register(s.Node, s.Service)
		}
	}
	assert.NoError(c.t, json.NewEncoder(w).Encode(api.TxnResponse{}))
}

func (c *consul) register(node string, s api.AgentService) {
	c.services = append(c.services, &api.CatalogService{
		Node: node, Address: "10.0.0.99", ServiceID: s.ID, ServiceAddress: s.Address, ServicePort: s.Port, ServiceTags: s.Tags, ServiceMeta: s.Meta,
	})
}

func (c *consul) client(token string) (*Client, error) {
	return New(c.t.Context(), registry.Options{Address: c.URL, Service: "iri", Pools: []string{"default", "pow"}, OwnPort: 14267}, token)
}

func (c *consul) requireClient() *Client {
	c.t.Helper()
	client, err := c.client(c.token)
	require.NoError(c.t, err)
	return client
}

// ids are what is registered where.
func (c *consul) ids() string {
	var all []string
	for _, s := range c.services {
		all = append(all, s.Node+"/"+s.ServiceID)
	}
	return strings.Join(all, " ")
}

func node(t *testing.T, address string, change ...func(*Node)) Node {
	t.Helper()
	n := Node{Address: address}
	for _, c := range change {
		c(&n)
	}
	n, err := n.Complete()
	require.NoError(t, err)
	return n
}

func TestAddRegistersChangesAndLeavesAsItIs(t *testing.T) {
	c := newConsul(t)
	client := c.requireClient()
	pow := func(n *Node) { n.Tags, n.Check, n.Interval = []string{"haproxy.pow=true"}, "pow=true", "10s" }
	for _, step := range []struct {
		node Node
		want string
	}{
		{node(t, "10.0.0.1"), Added},
		{node(t, "10.0.0.1"), Unchanged},
		{node(t, "10.0.0.1", pow), Changed},
		{node(t, "10.0.0.1", pow), Unchanged},
		{node(t, "10.0.0.2", func(n *Node) { n.ID = "10.0.0.1:14265" }), Changed},
	} {
		change, err := client.Add(t.Context(), step.node)
		require.NoError(t, err)
		assert.Equal(t, Change{What: step.want, ID: "10.0.0.1:14265"}, change)
		list, err := client.List(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []Registered{{Node: step.node, At: "catalog"}}, list)
	}
	assert.Equal(t, 3, c.writes)
}

func TestAddSaysWhereElseTheNodeIsRegistered(t *testing.T) {
	c := newConsul(t)
	c.register("host1", api.AgentService{ID: "a", Address: "10.0.0.1", Port: 14265})
	change, err := c.requireClient().Add(t.Context(), node(t, "10.0.0.1"))
	require.NoError(t, err)
	assert.Equal(t, []string{"host1"}, change.Elsewhere)
	assert.Equal(t, "host1/a iri-nodes/10.0.0.1:14265", c.ids())
}

func TestWhatIsWrongIsNotWritten(t *testing.T) {
	c := newConsul(t)
	client := c.requireClient()
	_, err := client.Add(t.Context(), node(t, "10.0.0.1", func(n *Node) { n.Tags = []string{"haproxy.wight=3"} }))
	assert.ErrorContains(t, err, "node 10.0.0.1:14265: tag haproxy.wight=3: unknown key")
	_, err = client.Apply(t.Context(), []Node{node(t, "10.0.0.1"), node(t, "10.0.0.2", func(n *Node) { n.Interval = "5" })})
	assert.ErrorContains(t, err, `node 10.0.0.2:14265: check interval (Meta iri-check-interval): "5" is not a time from 1s to 1h`)
	assert.Zero(t, c.writes)
}

func TestRemoveTakesAnIDOrAnAddress(t *testing.T) {
	for what, want := range map[string]string{
		"10.0.0.1:14265":   "iri-nodes/two iri-nodes/name:443",
		"10.0.0.1":         "iri-nodes/two iri-nodes/name:443",
		"two":              "iri-nodes/10.0.0.1:14265 iri-nodes/name:443",
		"10.0.0.2:15000":   "iri-nodes/10.0.0.1:14265 iri-nodes/name:443",
		"Node.Example:443": "iri-nodes/10.0.0.1:14265 iri-nodes/two",
	} {
		c := newConsul(t)
		client := c.requireClient()
		_, err := client.Apply(t.Context(), []Node{
			node(t, "10.0.0.1"), node(t, "10.0.0.2:15000", func(n *Node) { n.ID = "two" }), node(t, "node.example:443", func(n *Node) { n.ID = "name:443" }),
		})
		require.NoError(t, err)
		change, err := client.Remove(t.Context(), what)
		require.NoError(t, err, what)
		assert.Equal(t, Removed, change.What)
		assert.True(t, change.Managed)
		assert.Equal(t, want, c.ids(), what)
	}
}

func TestRemoveSaysWhatItCannotRemove(t *testing.T) {
	c := newConsul(t)
	client := c.requireClient()
	c.register("host1", api.AgentService{ID: "a b", Address: "10.0.0.1", Port: 14265})
	c.register(registry.CatalogNode, api.AgentService{ID: "one", Address: "10.0.0.2", Port: 14265})
	c.register(registry.CatalogNode, api.AgentService{ID: "two", Address: "10.0.0.2", Port: 14265})
	for what, want := range map[string]string{
		"10.0.0.1":   "node a b is registered at the agent host1 and not in the catalog; deregister it on that host: curl -H \"X-Consul-Token: $CONSUL_HTTP_TOKEN\" -X PUT '" + c.URL + "/v1/agent/service/deregister/a%20b'",
		"10.0.0.2":   "several nodes have the address 10.0.0.2; give one of these IDs: one, two",
		"10.0.0.3":   "no node 10.0.0.3 is registered; see iri-lb-handler node list",
		"http://x/y": "no node http://x/y is registered; see iri-lb-handler node list",
	} {
		_, err := client.Remove(t.Context(), what)
		assert.ErrorContains(t, err, want)
	}
	assert.Zero(t, c.writes)
	c.register(registry.CatalogNode, api.AgentService{ID: "a b", Address: "10.0.0.1", Port: 14265})
	change, err := client.Remove(t.Context(), "a b")
	require.NoError(t, err)
	assert.Equal(t, []string{"host1"}, change.Elsewhere)
}

func TestApplyMakesTheManagedNodesTheList(t *testing.T) {
	c := newConsul(t)
	client := c.requireClient()
	c.register("host1", api.AgentService{ID: "of-an-agent", Address: "10.0.0.9", Port: 14265})
	_, err := client.Add(t.Context(), node(t, "10.0.0.8", func(n *Node) { n.ID = "by-hand" }))
	require.NoError(t, err)
	apply := func(nodes ...Node) (all []string) {
		t.Helper()
		changes, err := client.Apply(t.Context(), nodes)
		require.NoError(t, err)
		for _, c := range changes {
			all = append(all, c.What+" "+c.ID)
		}
		return all
	}
	assert.Equal(t, []string{"added 10.0.0.1:14265", "added 10.0.0.2:14265"}, apply(node(t, "10.0.0.1"), node(t, "10.0.0.2")))
	assert.Empty(t, apply(node(t, "10.0.0.2"), node(t, "10.0.0.1")))
	assert.Equal(t, 2, c.writes, "nothing has changed")
	assert.Equal(t, []string{"removed 10.0.0.1:14265", "changed 10.0.0.2:14265"}, apply(node(t, "10.0.0.2", func(n *Node) { n.Check = "pow=true" })))

	// What is in the list is the list's from then on.
	assert.Equal(t, []string{"removed 10.0.0.2:14265", "changed by-hand"}, apply(node(t, "10.0.0.8", func(n *Node) { n.ID = "by-hand" })))
	assert.Equal(t, []string{"removed by-hand"}, apply())
	assert.Equal(t, "host1/of-an-agent", c.ids())

	var many []Node
	for i := range 200 {
		many = append(many, node(t, fmt.Sprintf("10.1.0.%d", i+1)))
	}
	assert.Len(t, apply(many...), 200)
	assert.Equal(t, 64, c.operations, "Consul takes no longer transaction")

	// A change by hand of what is in the list stays the list's.
	change, err := client.Add(t.Context(), node(t, "10.1.0.1", func(n *Node) { n.Interval = "5s" }))
	require.NoError(t, err)
	assert.Equal(t, Change{What: Changed, ID: "10.1.0.1:14265", Managed: true}, change)
	assert.Equal(t, []string{"changed 10.1.0.1:14265"}, apply(many...))
}

func TestConsulsRefusalsSayWhatToDo(t *testing.T) {
	c := newConsul(t)
	client := c.requireClient()
	for refusal, want := range map[string]string{
		"Permission denied: token lacks 'node:write'": "Consul refuses the token in CONSUL_HTTP_TOKEN, which must be one that may write: Permission denied",
		"index is stale": "HTTP 409: index is stale",
	} {
		c.refuse = refusal
		_, err := client.Add(t.Context(), node(t, "10.0.0.1"))
		assert.ErrorContains(t, err, want)
	}
	c.refuse, c.agent = "", true
	_, err := client.Add(t.Context(), node(t, "10.0.0.1"))
	assert.ErrorContains(t, err, `a Consul agent is called "iri-nodes" and would delete the nodes; give that agent another name`)
	c.filtered = true
	_, err = client.List(t.Context())
	assert.ErrorContains(t, err, "the token in CONSUL_HTTP_TOKEN may not read all nodes")
}

func TestATokenIsAskedForWhereConsulAsksForOne(t *testing.T) {
	c := newConsul(t)
	c.token = "secret"
	_, err := c.client("")
	assert.ErrorContains(t, err, "CONSUL_HTTP_TOKEN is not set, and Consul asks for a token; as root: export CONSUL_HTTP_TOKEN=$(cat /etc/consul/consul_master_token)")
	client, err := c.client("wrong")
	require.NoError(t, err)
	_, err = client.List(t.Context())
	assert.ErrorContains(t, err, "Consul refuses the token in CONSUL_HTTP_TOKEN, which must be one that may write: ACL not found; as root: export")
	_, err = c.requireClient().List(t.Context())
	assert.NoError(t, err)
}

func TestAConsulThatDoesNotAnswerIsNamed(t *testing.T) {
	c := newConsul(t)
	client := c.requireClient()
	c.Close()
	for _, err := range []error{
		func() error { _, err := client.List(t.Context()); return err }(),
		func() error { _, err := New(context.Background(), client.opts, ""); return err }(),
	} {
		assert.ErrorContains(t, err, "Consul at "+c.URL)
		assert.ErrorContains(t, err, "see systemctl status consul")
	}
}
