package failures

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// configuration is a load balancer that is measured, with five nodes of its own.
type configuration struct {
	// key is its name in RUN, name the one in the table.
	key, name string
	url       string
	nodes     []*node
	balancer
}

// balancer is what a load balancer itself says of its nodes.
type balancer interface {
	// takesAll says whether all nodes are in service.
	takesAll() error
	// watch begins to look when nodes are taken out.
	watch(t *testing.T)
	// takenOut ends the watch and returns when the balancer took each of its nodes out, by host.
	takenOut(t *testing.T) map[string]time.Time
}

const (
	nodesEach = 5
	// thisKey is the configuration whose figures are judged.
	thisKey = "this"
)

// configurations starts all of them. The run is the test of the whole table.
func configurations(run *testing.T) []*configuration {
	run.Helper()
	return []*configuration{
		newHAProxy(run, thisKey, "this commit", "127.0.5."),
		newHAProxy(run, "base", "before (`"+harness.Base()+"`)", "127.0.6.", harness.WithBase(run)),
		newNginx(run, "127.0.7."),
	}
}

func startNodes(run *testing.T, network string) (nodes []*node) {
	run.Helper()
	for i := range nodesEach {
		nodes = append(nodes, startNode(run, fmt.Sprint(network, i+1)))
	}
	return nodes
}

// newHAProxy has all parts of an installation. Consul's checks are set by the test, see register.
func newHAProxy(run *testing.T, key, name, network string, opts ...harness.Option) *configuration {
	run.Helper()
	// A log of every request, through Docker, would be hundreds of megabytes.
	h := harness.StartHAProxy(run, append(opts, harness.WithVars(harness.Vars{"haproxy_access_log": false, "haproxy_check_timeout": nil}))...)
	bed := harness.JoinBed(run, harness.StartConsul(run), h)
	c := &configuration{key: key, name: name, url: h.URL, nodes: startNodes(run, network), balancer: &haproxy{HAProxy: h}}
	for _, n := range c.nodes {
		register(run, bed, n.host)
	}
	bed.Run(run)
	return c
}

// register adds a node to both pools, with a check that passes throughout: Consul runs a node's check every 30 s, and
// none of them falls into the fault. It is the worst case, and the only one in which the times are the load balancer's
// own.
func register(t *testing.T, bed *harness.Bed, host string) {
	t.Helper()
	service := harness.TTLNode(host, host, harness.NodePort, "haproxy.pow=true")
	service.Check.TTL = "24h"
	require.NoError(t, bed.Agent().ServiceRegister(service))
	bed.SetHealth(t, host, api.HealthPassing)
}

// haproxy is asked through its runtime API.
type haproxy struct {
	*harness.HAProxy
	stop chan struct{}
	done chan map[string]time.Time
}

// Values of srv_op_state in "show servers state".
const (
	opStopped = "0"
	opRunning = "2"
)

// states is srv_op_state of each node in a backend, by host.
func (h *haproxy) states(backend string) (map[string]string, error) {
	text, err := h.Command("show servers state " + backend)
	if err != nil {
		return nil, err
	}
	states := map[string]string{}
	for _, s := range harness.ParseServers(text) {
		if s["srv_port"] == fmt.Sprint(harness.NodePort) {
			states[s["srv_addr"]] = s["srv_op_state"]
		}
	}
	return states, nil
}

// takesAll also waits until a slow start is over.
func (h *haproxy) takesAll() error {
	for _, backend := range []string{harness.Backend, harness.PoWBackend} {
		states, err := h.states(backend)
		if err != nil {
			return err
		}
		running := 0
		for _, state := range states {
			if state == opRunning {
				running++
			}
		}
		if running != nodesEach {
			return fmt.Errorf("%s: %d of %d nodes are up", backend, running, nodesEach)
		}
	}
	return nil
}

func (h *haproxy) watch(*testing.T) {
	h.stop, h.done = make(chan struct{}), make(chan map[string]time.Time)
	go func() {
		out := map[string]time.Time{}
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-h.stop:
				h.done <- out
				return
			case <-ticker.C:
			}
			states, _ := h.states(harness.Backend)
			for host, state := range states {
				if _, before := out[host]; state == opStopped && !before {
					out[host] = time.Now()
				}
			}
		}
	}()
}

func (h *haproxy) takenOut(*testing.T) map[string]time.Time {
	close(h.stop)
	return <-h.done
}

// ready waits until every node answers wallets.
func (c *configuration) ready(t *testing.T) {
	t.Helper()
	harness.Eventually(t, time.Minute, c.name+" has all its nodes", c.takesAll)
	seen := map[string]bool{}
	harness.Eventually(t, time.Minute, "each node answers through "+c.name, func() error {
		host, err := harness.Ask(c.url)
		seen[host] = err == nil
		for _, n := range c.nodes {
			if !seen[n.host] {
				return errors.Join(err, fmt.Errorf("%s has not answered", n.host))
			}
		}
		return nil
	})
}
