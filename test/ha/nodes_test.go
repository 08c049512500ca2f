//go:build integration

package ha

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

const (
	nodeHost  = "iri-lb-ha-nodes"
	nodeCount = 20
	hostImage = "iri-lb-haproxy/host-debian:13"
)

// startNodes runs the fake nodes in a container of their own, so that no host takes one along. Each has an address.
func startNodes(t *testing.T) {
	t.Helper()
	harness.BuildStatic(t, "./src/cmd/iri-fake-node", "iri-fake-node-static")
	_, _ = command(time.Minute, "docker", "rm", "--force", "--volumes", nodeHost)
	_, err := command(time.Minute, "docker", "run", "--detach", "--name", nodeHost, "--network", network, "--ip", "172.31.77.60",
		"--cap-add", "NET_ADMIN", "--volume", harness.Program("iri-fake-node-static")+":/usr/local/bin/iri-fake-node:ro",
		"--entrypoint", "bash", hostImage, "-c", fmt.Sprintf(
			`for i in {1..%d}; do
			   ip address add 172.31.77.$((60 + i))/24 dev eth0
			   iri-fake-node -listen 172.31.77.$((60 + i)):14265 -name node-$i &
			 done
			 wait`, nodeCount+1))
	require.NoError(t, err)
	t.Cleanup(func() {
		if !keepHosts() {
			_, _ = command(time.Minute, "docker", "rm", "--force", "--volumes", nodeHost)
		}
	})
}

// onNodes runs a shell command where the nodes are.
func onNodes(script string) (string, error) {
	return command(60*time.Second, "docker", "exec", nodeHost, "bash", "-c", script)
}

// node is the address of the n-th node, from 1. The one after the last comes and goes in changeArrives.
func node(n int) string { return fmt.Sprintf("172.31.77.%d", 60+n) }

// nodes are the addresses of all of them.
func nodes() (all []string) {
	for n := range nodeCount {
		all = append(all, node(n+1))
	}
	return all
}

// signalNode sends a signal to a fake node: STOP freezes it, CONT lets it go on.
func signalNode(t *testing.T, address, signal string) {
	t.Helper()
	_, err := onNodes(fmt.Sprintf("pkill -%s --full -- '-listen %s:'", signal, address))
	require.NoError(t, err)
}

// interval and timeout are those of the nodes' health checks.
const interval, timeout = 5 * time.Second, 5 * time.Second

// register registers nodes at the host's agent with the documented command.
func (h host) register(t *testing.T, addresses ...string) {
	t.Helper()
	check := fmt.Sprintf(`"Args": ["/scripts/iri-node-check", "-a", "http://$address:14265", "-i"], "Interval": "%s", "Timeout": "%s"`, interval, timeout)
	h.registerWith(t, check, addresses...)
}

func (h host) registerWith(t *testing.T, check string, addresses ...string) {
	t.Helper()
	h.sh(t, fmt.Sprintf(`
		for address in %s; do
		  curl --silent --show-error --fail-with-body --header "X-Consul-Token: $(cat /etc/consul/consul_master_token)" \
		    --request PUT --data @- http://localhost:8500/v1/agent/service/register <<JSON
		{"ID": "$address:14265", "Name": "iri", "Address": "$address", "Port": 14265, "Check": {%s}}
JSON
		done`, words(addresses), check))
}

func (h host) deregister(t *testing.T, addresses ...string) {
	t.Helper()
	h.sh(t, fmt.Sprintf(`
		for address in %s; do
		  curl --silent --show-error --fail-with-body --header "X-Consul-Token: $(cat /etc/consul/consul_master_token)" \
		    --request PUT "http://localhost:8500/v1/agent/service/deregister/$address:14265"
		done`, words(addresses)))
}

// registered are the addresses that the host's agent has.
func (h host) registered(t *testing.T) []string {
	t.Helper()
	return fields(h.sh(t, `curl --silent --show-error --fail-with-body --header "X-Consul-Token: $(cat /etc/consul/consul_master_token)" \
		http://localhost:8500/v1/agent/services | jq -r '.[] | select(.Service == "iri") | .Address'`))
}

// spread registers every node at one host, in turn, and nowhere else.
func (b *bed) spread(t *testing.T) {
	t.Helper()
	wanted := map[host][]string{}
	for i, address := range nodes() {
		h := b.hosts[i%len(b.hosts)]
		wanted[h] = append(wanted[h], address)
	}
	b.registerAt(t, wanted)
}

// registerAt registers these nodes at these hosts, and then deregisters all others.
func (b *bed) registerAt(t *testing.T, wanted map[host][]string) {
	t.Helper()
	surplus := map[host][]string{}
	for _, h := range b.hosts {
		there := h.registered(t)
		h.register(t, without(wanted[h], there)...)
		surplus[h] = without(there, wanted[h])
	}
	b.waitWhole(t, time.Minute)
	for h, addresses := range surplus {
		h.deregister(t, addresses...)
	}
	b.waitWhole(t, time.Minute)
}
