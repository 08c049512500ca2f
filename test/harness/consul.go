package harness

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/require"
)

// Consul is one server in a container, its API on a loopback port of its own.
type Consul struct {
	*api.Client
	Address   string
	Container *Container
}

// scriptsMount is where the programs under test are in Consul's container, as the playbook has them.
const scriptsMount = "/scripts"

// StartConsul runs a server with more arguments of `consul agent`.
func StartConsul(t *testing.T, args ...string) *Consul {
	t.Helper()
	return StartConsulWith(t, nil, args...)
}

// StartConsulWith also mounts folders of the host.
func StartConsulWith(t *testing.T, mounts []string, args ...string) *Consul {
	t.Helper()
	p := FreePorts(t, 5)
	all := append([]string{
		"agent", "-server", "-bootstrap-expect=1", "-node=test", "-bind=127.0.0.1", "-client=127.0.0.1",
		"-data-dir=/tmp/consul", "-log-level=warn", fmt.Sprintf("-http-port=%d", p[0]),
		fmt.Sprintf("-server-port=%d", p[1]), fmt.Sprintf("-serf-lan-port=%d", p[2]),
		fmt.Sprintf("-serf-wan-port=%d", p[3]), fmt.Sprintf("-dns-port=%d", p[4]), "-grpc-port=-1", "-grpc-tls-port=-1",
		"-hcl", "enable_script_checks = true leave_on_terminate = false performance { raft_multiplier = 1 }",
	}, args...)
	c := &Consul{Address: "http://" + Local(p[0])}
	c.Container = StartContainer(t, ConsulImage(), "consul", all, append(mounts, bin+":"+scriptsMount+":ro")...)
	var err error
	c.Client, err = api.NewClient(&api.Config{Address: c.Address})
	require.NoError(t, err)
	c.WaitLeader(t)
	return c
}

// ManagementToken is the token of the tests' own client where Consul asks for one.
const ManagementToken = "11111111-1111-1111-1111-111111111111"

// StartConsulWithACLs runs a server that refuses everybody without a token. The client has all rights.
func StartConsulWithACLs(t *testing.T) *Consul {
	t.Helper()
	c := StartConsul(t, "-hcl", `acl { enabled = true default_policy = "deny" tokens { initial_management = "`+ManagementToken+
		`" agent = "`+ManagementToken+`" } }`)
	var err error
	c.Client, err = api.NewClient(&api.Config{Address: c.Address, Token: ManagementToken})
	require.NoError(t, err)
	Eventually(t, 20*time.Second, "Consul takes a policy", func() error {
		_, _, err := c.ACL().PolicyCreate(&api.ACLPolicy{
			Name: "nodes", Rules: `service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }`,
		}, nil)
		return err
	})
	return c
}

// NewToken makes a token that may read nodes, as the handler needs it.
func (c *Consul) NewToken(t *testing.T) *api.ACLToken {
	t.Helper()
	token, _, err := c.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{Name: "nodes"}}}, nil)
	require.NoError(t, err)
	return token
}

// DeleteToken ends what a token may do.
func (c *Consul) DeleteToken(t *testing.T, token *api.ACLToken) {
	t.Helper()
	_, err := c.ACL().TokenDelete(token.AccessorID, nil)
	require.NoError(t, err)
}

// Maintain puts a node into maintenance, or takes it out of it.
func (c *Consul) Maintain(t *testing.T, id string, on bool) {
	t.Helper()
	var err error
	if on {
		err = c.Agent().EnableServiceMaintenance(id, "by the test")
	} else {
		err = c.Agent().DisableServiceMaintenance(id)
	}
	require.NoError(t, err)
}

// WaitLeader waits until the server is its own leader.
func (c *Consul) WaitLeader(t *testing.T) {
	t.Helper()
	Eventually(t, 60*time.Second, "Consul has a leader", func() error {
		leader, err := c.Status().Leader()
		if err == nil && leader == "" {
			err = errors.New("no leader")
		}
		return err
	})
}

// WaitPassing waits until the checks of that many nodes pass.
func (c *Consul) WaitPassing(t *testing.T, n int) {
	t.Helper()
	Eventually(t, 20*time.Second, fmt.Sprintf("%d nodes pass", n), func() error {
		entries, _, err := c.Health().Service("iri", "", true, nil)
		if err == nil && len(entries) != n {
			err = fmt.Errorf("%d pass", len(entries))
		}
		return err
	})
}

// Register adds a node with a TTL check that passes: the test sets its state.
func (c *Consul) Register(t *testing.T, id, addr string, port int, tags ...string) {
	t.Helper()
	require.NoError(t, c.Agent().ServiceRegister(TTLNode(id, addr, port, tags...)))
}

// TTLNode is the registration of a node whose state is set by SetHealth.
func TTLNode(id, addr string, port int, tags ...string) *api.AgentServiceRegistration {
	return &api.AgentServiceRegistration{
		ID: id, Name: "iri", Address: addr, Port: port, Tags: tags,
		Check: &api.AgentServiceCheck{CheckID: CheckID(id), TTL: "1h", Status: api.HealthPassing},
	}
}

// CheckID is the ID of the check of a service.
func CheckID(service string) string { return "service:" + service }

// RegisterUnchecked adds a service through the catalog, which validates nothing, as if it came from a broken or
// hostile agent.
func (c *Consul) RegisterUnchecked(t *testing.T, id, addr string, port int, tags ...string) {
	t.Helper()
	_, err := c.Catalog().Register(&api.CatalogRegistration{
		Node: "hostile", Address: "127.0.0.1",
		Service: &api.AgentService{ID: id, Service: "iri", Address: addr, Port: port, Tags: tags},
	}, nil)
	require.NoError(t, err)
}

// RegisterWithScript adds a node that Consul checks with iri-node-check.
func (c *Consul) RegisterWithScript(t *testing.T, id, addr string, port int, tags ...string) {
	t.Helper()
	require.NoError(t, c.Agent().ServiceRegister(&api.AgentServiceRegistration{
		ID: id, Name: "iri", Address: addr, Port: port, Tags: tags,
		Check: &api.AgentServiceCheck{
			// -w, -t: the machine may be busy with other tests.
			Args:     []string{scriptsMount + "/iri-node-check", "-a", fmt.Sprintf("http://%s:%d", addr, port), "-i", "-w", "8", "-t", "8"},
			Interval: "1s", Timeout: "10s",
		},
	}))
}

// RegisterWithCommand adds a node that Consul checks every second with a shell command, run in its container.
func (c *Consul) RegisterWithCommand(t *testing.T, id, addr string, port int, command string) {
	t.Helper()
	require.NoError(t, c.Agent().ServiceRegister(&api.AgentServiceRegistration{
		ID: id, Name: "iri", Address: addr, Port: port,
		Check: &api.AgentServiceCheck{Args: []string{"sh", "-c", command}, Interval: "1s", Timeout: "2s"},
	}))
}

// RegisterMany adds services through the catalog, in transactions of 64, which is Consul's limit.
func (c *Consul) RegisterMany(t *testing.T, n int, tags ...string) {
	t.Helper()
	_, err := c.Catalog().Register(&api.CatalogRegistration{Node: "many", Address: "127.0.0.1"}, nil)
	require.NoError(t, err)
	for first := 0; first < n; first += 64 {
		var ops api.TxnOps
		for i := first; i < min(first+64, n); i++ {
			ops = append(ops, &api.TxnOp{Service: &api.ServiceTxnOp{
				Verb: api.ServiceSet, Node: "many",
				Service: api.AgentService{
					ID: fmt.Sprint("many", i), Service: "iri", Address: ManyAddress(i), Port: NodePort, Tags: tags,
				},
			}})
		}
		ok, answer, _, err := c.Txn().Txn(ops, nil)
		require.NoError(t, err)
		require.True(t, ok, "%+v", answer)
	}
}

// SetHealth sets the TTL check of a node.
func (c *Consul) SetHealth(t *testing.T, id, status string) {
	t.Helper()
	require.NoError(t, c.UpdateHealth(id, status))
}

// UpdateHealth does the same, and returns the error.
func (c *Consul) UpdateHealth(id, status string) error {
	return c.Agent().UpdateTTL(CheckID(id), "set by the test", status)
}
