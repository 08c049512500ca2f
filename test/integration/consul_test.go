//go:build integration

package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/ory/dockertest/v3"
	dc "github.com/ory/dockertest/v3/docker"
	"github.com/stretchr/testify/require"
)

// consul is one server in a container, its API on a loopback port of its own.
type consul struct {
	*api.Client
	address   string
	container *dockertest.Resource
}

// script is iri-node-check's place in the container, as the playbook has it.
const script = "/scripts/iri-node-check"

func startConsul(t *testing.T, extra ...string) *consul {
	t.Helper()
	return startConsulWith(t, nil, extra...)
}

// startConsulWith also mounts folders of the host.
func startConsulWith(t *testing.T, mounts []string, extra ...string) *consul {
	t.Helper()
	p := freePorts(t, 5)
	cmd := append([]string{
		"agent", "-server", "-bootstrap-expect=1", "-node=test", "-bind=127.0.0.1", "-client=127.0.0.1",
		"-data-dir=/tmp/consul", "-log-level=warn", fmt.Sprintf("-http-port=%d", p[0]),
		fmt.Sprintf("-server-port=%d", p[1]), fmt.Sprintf("-serf-lan-port=%d", p[2]),
		fmt.Sprintf("-serf-wan-port=%d", p[3]), fmt.Sprintf("-dns-port=%d", p[4]), "-grpc-port=-1", "-grpc-tls-port=-1",
		"-hcl", "enable_script_checks = true leave_on_terminate = false performance { raft_multiplier = 1 }",
	}, extra...)
	c := &consul{address: fmt.Sprintf("http://127.0.0.1:%d", p[0])}
	c.container = startContainer(t, image("CONSUL_IMAGE", "hashicorp/consul:1.22.0"),
		[]string{"consul"}, cmd, append(mounts, bin+":/scripts:ro")...)
	var err error
	c.Client, err = api.NewClient(&api.Config{Address: c.address})
	require.NoError(t, err)
	c.waitLeader(t)
	return c
}

func (c *consul) waitLeader(t *testing.T) {
	t.Helper()
	eventually(t, 60*time.Second, "Consul has a leader", func() error {
		leader, err := c.Status().Leader()
		if err == nil && leader == "" {
			err = fmt.Errorf("no leader")
		}
		return err
	})
}

// register adds a node with a TTL check that passes: the test sets its state.
func (c *consul) register(t *testing.T, id, addr string, port int, tags ...string) {
	t.Helper()
	require.NoError(t, c.Agent().ServiceRegister(&api.AgentServiceRegistration{
		ID: id, Name: "iri", Address: addr, Port: port, Tags: tags,
		Check: &api.AgentServiceCheck{CheckID: "service:" + id, TTL: "1h", Status: api.HealthPassing},
	}))
}

// registerUnchecked adds a service through the catalog, where Consul looks at
// nothing, as if it came from a broken or hostile agent.
func (c *consul) registerUnchecked(t *testing.T, id, addr string, port int, tags ...string) {
	t.Helper()
	_, err := c.Catalog().Register(&api.CatalogRegistration{
		Node: "hostile", Address: "127.0.0.1",
		Service: &api.AgentService{ID: id, Service: "iri", Address: addr, Port: port, Tags: tags},
	}, nil)
	require.NoError(t, err)
}

// registerScript adds a node that Consul checks with iri-node-check.
func (c *consul) registerScript(t *testing.T, id, addr string, port int, tags ...string) {
	t.Helper()
	require.NoError(t, c.Agent().ServiceRegister(&api.AgentServiceRegistration{
		ID: id, Name: "iri", Address: addr, Port: port, Tags: tags,
		Check: &api.AgentServiceCheck{
			// -w, -t: the machine may be busy with other tests.
			Args:     []string{script, "-a", fmt.Sprintf("http://%s:%d", addr, port), "-i", "-w", "8", "-t", "8"},
			Interval: "1s", Timeout: "10s",
		},
	}))
}

func (c *consul) set(t *testing.T, id, status string) {
	t.Helper()
	require.NoError(t, c.Agent().UpdateTTL("service:"+id, "set by the test", status))
}

func startContainer(t *testing.T, image string, entrypoint, cmd []string, mounts ...string) *dockertest.Resource {
	t.Helper()
	repository, tag, _ := strings.Cut(image, ":")
	r, err := docker.RunWithOptions(&dockertest.RunOptions{
		Repository: repository, Tag: tag, Entrypoint: entrypoint, Cmd: cmd, Mounts: mounts, User: "0",
	}, func(h *dc.HostConfig) {
		h.RestartPolicy = dc.NeverRestart()
		h.NetworkMode = "host"
	})
	require.NoError(t, err, "start %s", image)
	t.Cleanup(func() {
		if t.Failed() {
			var out strings.Builder
			_ = docker.Client.Logs(dc.LogsOptions{Container: r.Container.ID, OutputStream: &out, ErrorStream: &out, Stdout: true, Stderr: true, Tail: "40"})
			t.Logf("%s:\n%s", image, out.String())
		}
		_ = docker.Purge(r)
	})
	return r
}
