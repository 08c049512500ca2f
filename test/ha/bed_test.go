//go:build integration

package ha

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// virtualAddress is what test/ha/variables.yml says.
const virtualAddress = "172.31.77.120"

// keepHosts: the hosts of an earlier run are used again, and these are left for the next run.
func keepHosts() bool { return os.Getenv("HA_HOSTS") == "keep" }

// bed is three hosts with all that the playbook installs, the nodes, and what is seen of them.
type bed struct {
	hosts   []host
	address *addressWatch

	mu sync.Mutex
	// hit is when something was done to a host, by its address, that its own clients must notice.
	hit map[string]time.Time
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{}
	for n := range 3 {
		b.hosts = append(b.hosts, host{fmt.Sprintf("iri-lb-ha-%d", n+1), fmt.Sprintf("172.31.77.%d", 21+n)})
	}
	if !keepHosts() || slices.ContainsFunc(b.hosts, func(h host) bool { return h.state() == "missing" }) {
		b.makeHosts(t)
	}
	t.Cleanup(func() {
		for _, h := range b.hosts {
			if !keepHosts() {
				h.remove()
			}
		}
	})
	startNodes(t)
	b.address = watchAddress(virtualAddress, b.hosts)
	t.Cleanup(b.address.stop)
	for _, h := range b.hosts {
		h.mend()
	}
	b.spread(t)
	return b
}

// makeHosts makes the hosts anew, with nothing of earlier ones, and runs the playbook.
func (b *bed) makeHosts(t *testing.T) {
	t.Helper()
	var all errgroup.Group
	for _, h := range b.hosts {
		all.Go(func() error { return h.create() })
	}
	require.NoError(t, all.Wait())
	b.play(t)
}

func (h host) create() error {
	h.remove()
	_, err := command(3*time.Minute, filepath.Join(harness.Root(), "tools/host.sh"), "start", h.name, h.address)
	return err
}

func (h host) remove() {
	_, _ = command(time.Minute, filepath.Join(harness.Root(), "tools/host.sh"), "remove", h.name)
}

// play runs the playbook, as a user would.
func (b *bed) play(t *testing.T, more ...string) {
	t.Helper()
	began := time.Now()
	venv, err := command(5*time.Minute, filepath.Join(harness.Root(), "tools/venv.sh"))
	require.NoError(t, err)
	t.Setenv("LC_ALL", "C.UTF-8") // Ansible refuses any that is not UTF-8
	t.Setenv("ANSIBLE_NOCOLOR", "1")
	t.Chdir(harness.Root())
	out, err := command(10*time.Minute, filepath.Join(strings.TrimSpace(venv), "bin/ansible-playbook"), append([]string{
		"-i", "test/ha/inventory.yml", "site.yml", "-e", "@test/ha/variables.yml",
		"-e", "haproxy_image_archive=" + archive("haproxy-3.0.tar"), "-e", "consul_image_archive=" + archive("consul-1.22.0.tar"),
	}, more...)...)
	require.NoError(t, err)
	_, recap, _ := strings.Cut(out, "PLAY RECAP")
	t.Logf("the playbook ran for %s: %s", time.Since(began).Round(time.Second), recap)
}

// archive is a file that tools/images.sh made.
func archive(name string) string {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache")
	}
	return filepath.Join(cache, "iri-lb-haproxy/images", name)
}

// strike notes that the clients of these hosts must notice what follows.
func (b *bed) strike(hosts ...host) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, h := range hosts {
		b.hit[h.address] = time.Now()
	}
}

// owner is the host that has the virtual address.
func (b *bed) owner(t *testing.T) host {
	t.Helper()
	var name string
	harness.Eventually(t, 20*time.Second, "one host has the virtual address", func() (err error) { name, err = b.address.owner(); return err })
	return b.hosts[slices.IndexFunc(b.hosts, func(h host) bool { return h.name == name })]
}

// others are all hosts but these.
func (b *bed) others(these ...host) []host { return without(b.hosts, these) }

// leader is the host with Consul's leader.
func (b *bed) leader(t *testing.T) (leader host) {
	t.Helper()
	harness.Eventually(t, 20*time.Second, "Consul has a leader", func() error {
		for _, h := range b.hosts {
			out, err := h.consul("GET", "/v1/status/leader")
			at := slices.IndexFunc(b.hosts, func(h host) bool { return strings.Contains(out, `"`+h.address+":") })
			if err == nil && at >= 0 {
				leader = b.hosts[at]
				return nil
			}
		}
		return errors.New("no host knows one")
	})
	return leader
}

// lead makes the host Consul's leader.
func (b *bed) lead(t *testing.T, h host) {
	t.Helper()
	if b.leader(t) == h {
		return
	}
	id := strings.TrimSpace(h.sh(t, "cat /var/lib/consul/node-id"))
	harness.Eventually(t, time.Minute, "it leads", func() error {
		_, err := h.consul("POST", "/v1/operator/raft/transfer-leader?id="+id)
		harness.Keep(2 * time.Second) // for the election
		if now := b.leader(t); now != h {
			return errors.Join(err, fmt.Errorf("%s leads", now.name))
		}
		return nil
	})
}

// waitVoters waits until every server votes. Consul's leader takes back one that it had removed within a minute, and lets it vote
// ten seconds later; until then the death of another one would be a second fault.
func (b *bed) waitVoters(t *testing.T) {
	t.Helper()
	harness.Eventually(t, 3*time.Minute, "every server votes", func() error {
		out, err := b.hosts[0].consul("GET", "/v1/operator/autopilot/health")
		if err != nil {
			return err
		}
		var health struct {
			Healthy bool
			Servers []struct{ Voter bool }
		}
		if err := json.Unmarshal([]byte(out), &health); err != nil {
			return fmt.Errorf("%q: %w", out, err)
		}
		voters := 0
		for _, s := range health.Servers {
			if s.Voter {
				voters++
			}
		}
		if !health.Healthy || voters != len(b.hosts) {
			return fmt.Errorf("%d of %d vote, healthy: %t", voters, len(b.hosts), health.Healthy)
		}
		return nil
	})
}

// serving says in how many slots of the host's HAProxy each address is in service.
func (h host) serving() (map[string]int, error) {
	text, err := h.run("echo 'show servers state iri_back' | socat -t 5 stdio unix-connect:/run/haproxy/admin.sock")
	if err != nil {
		return nil, err
	}
	return parseServing(text), nil
}

func parseServing(text string) map[string]int {
	slots := map[string]int{}
	for _, s := range harness.ParseServers(text) {
		const outOfService = 0x01 | 0x08                             // maintenance, drain
		if !slices.Contains([]string{"1", "2"}, s["srv_op_state"]) { // 1: it starts slowly
			continue
		}
		if flags, err := strconv.Atoi(s["srv_admin_state"]); err == nil && flags&outOfService == 0 {
			slots[s["srv_addr"]]++
		}
	}
	return slots
}

// wrongSlots says which nodes are not in service in exactly one slot.
func wrongSlots(slots map[string]int, wanted ...string) error {
	for _, address := range wanted {
		if slots[address] != 1 {
			return fmt.Errorf("%s is in service in %d slots", address, slots[address])
		}
	}
	return nil
}

// healthy is what an operator would look at on a host.
const healthy = `
	systemctl is-active consul haproxy iri-lb-handler keepalived | grep --line-number --invert-match '^active$' &&
	  { echo 'line 1 is Consul, 2 HAProxy, 3 the handler, 4 keepalived' >&2; exit 1; }
	curl --silent --show-error --fail --output /dev/null --max-time 3 http://127.0.0.1:9294/readyz || exit 1
	curl --silent --show-error --max-time 3 --header "X-Consul-Token: $(cat /etc/consul/consul_master_token)" \
	  http://127.0.0.1:8500/v1/operator/autopilot/health | jq --exit-status '.Healthy and (.Servers | length) == 3' ||
	  { echo "Consul's cluster is not healthy" >&2; exit 1; }
	echo 'show servers state iri_back' | socat -t 5 stdio unix-connect:/run/haproxy/admin.sock`

// notWhole says what is missing until everything is as it was before any fault.
func (b *bed) notWhole() error {
	if _, err := b.address.owner(); err != nil {
		return err
	}
	var all errgroup.Group
	for _, h := range b.hosts {
		all.Go(func() error {
			text, err := h.run(healthy)
			if err == nil {
				err = wrongSlots(parseServing(text), nodes()...)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", h.name, err)
			}
			return nil
		})
	}
	return all.Wait()
}

func (b *bed) waitWhole(t *testing.T, within time.Duration) {
	t.Helper()
	if err := b.becomesWhole(within); err != nil {
		t.Fatalf("not whole within %s: %v", within, err)
	}
}

func (b *bed) becomesWhole(within time.Duration) error {
	for deadline := time.Now().Add(within); ; time.Sleep(200 * time.Millisecond) { // between two looks
		err := b.notWhole()
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// mend makes everything whole again, whatever a row has left behind: by hand, or else with hosts that are made anew.
func (b *bed) mend(t *testing.T) {
	t.Helper()
	if b.notWhole() == nil {
		return
	}
	for _, h := range b.hosts {
		h.mend()
	}
	if err := b.becomesWhole(90 * time.Second); err != nil {
		t.Logf("the hosts are made anew, because: %v", err)
		b.makeHosts(t)
		b.spread(t)
	}
}

// mend ends the faults that a row may have left on the host.
func (h host) mend() {
	state, _, _ := strings.Cut(h.state(), " ")
	switch state {
	case "paused":
		_, _ = command(time.Minute, "docker", "unpause", h.name)
	case "running":
	default:
		_, _ = command(time.Minute, "docker", "start", h.name)
	}
	if !strings.HasSuffix(h.state(), h.address) {
		_, _ = command(time.Minute, "docker", "network", "disconnect", network, h.name)
		_, _ = command(time.Minute, "docker", "network", "connect", "--ip", h.address, network, h.name)
	}
	_, _ = h.run(hearScript + `
		docker unpause $(docker ps --quiet --filter status=paused)
		pkill -CONT -x haproxy
		systemctl start consul haproxy iri-lb-handler keepalived`)
}

// without is the list without what is in the other.
func without[T comparable](list, other []T) (left []T) {
	for _, one := range list {
		if !slices.Contains(other, one) {
			left = append(left, one)
		}
	}
	return left
}

func words(list []string) string { return strings.Join(list, " ") }

func fields(text string) []string { return strings.Fields(text) }
