//go:build integration

package ha

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// network is the Docker network of the hosts, which tools/host.sh creates.
const network = "iri-lb-cluster"

// host is a container with systemd and a Docker of its own. It has a fixed address.
type host struct{ name, address string }

// run runs a shell command on the host.
func (h host) run(script string) (string, error) {
	return command(60*time.Second, "docker", "exec", h.name, "bash", "-c", script)
}

// sh is run for commands that must succeed.
func (h host) sh(t *testing.T, script string) string {
	t.Helper()
	out, err := h.run(script)
	require.NoError(t, err, h.name)
	return out
}

// docker runs a Docker command whose last argument is the host's name.
func (h host) docker(t *testing.T, args ...string) {
	t.Helper()
	_, err := command(60*time.Second, "docker", append(args, h.name)...)
	require.NoError(t, err)
}

// kill is a power failure.
func (h host) kill(t *testing.T) { t.Helper(); h.docker(t, "kill") }

func (h host) start(t *testing.T) { t.Helper(); h.docker(t, "start") }

// pause stops every process of the host. Those of its own containers have to be paused first: their control groups are
// not below the host's.
func (h host) pause(t *testing.T) {
	t.Helper()
	h.sh(t, "docker pause $(docker ps --quiet)")
	h.docker(t, "pause")
}

func (h host) resume(t *testing.T) {
	t.Helper()
	h.docker(t, "unpause")
	h.sh(t, "docker unpause $(docker ps --quiet --filter status=paused)")
}

// unplug takes the host off the network.
func (h host) unplug(t *testing.T) { t.Helper(); h.docker(t, "network", "disconnect", network) }

func (h host) plugIn(t *testing.T, address string) {
	t.Helper()
	h.docker(t, "network", "connect", "--ip", address, network)
}

// state is what Docker says about the host, such as "running 172.31.77.21".
func (h host) state() string {
	out, err := command(10*time.Second, "docker", "inspect", "--format",
		"{{.State.Status}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", h.name)
	if err != nil {
		return "missing"
	}
	return strings.TrimSpace(out)
}

// deaf makes the host lose what comes from these addresses. The rules are in a chain of their own, which hear removes.
func (h host) deaf(t *testing.T, from ...host) {
	t.Helper()
	var rules []string
	for _, other := range from {
		rules = append(rules, "-s "+other.address+" -j DROP")
	}
	h.filter(t, rules...)
}

// filter adds rules to what the host receives.
func (h host) filter(t *testing.T, rules ...string) {
	t.Helper()
	script := []string{"iptables -N fault", "iptables -I INPUT -j fault"}
	for _, rule := range rules {
		script = append(script, "iptables -A fault "+rule)
	}
	h.sh(t, strings.Join(script, " && "))
}

// hearScript removes what filter has added.
const hearScript = "iptables -D INPUT -j fault && iptables -F fault && iptables -X fault"

func (h host) hear(t *testing.T) { t.Helper(); h.sh(t, hearScript) }

// consul asks Consul's API on the host, with the management token.
func (h host) consul(method, path string) (string, error) {
	return h.run(fmt.Sprintf("curl --silent --show-error --fail-with-body --max-time 5 --request %s "+
		"--header \"X-Consul-Token: $(cat /etc/consul/consul_master_token)\" 'http://127.0.0.1:8500%s'", method, path))
}

// command runs a program; its error has what the program wrote.
func command(within time.Duration, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	var stderr strings.Builder
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s%s", program, strings.Join(args, " "), err, stderr.String(), out)
	}
	return string(out), nil
}

func (h host) paused() bool { return strings.HasPrefix(h.state(), "paused") }
