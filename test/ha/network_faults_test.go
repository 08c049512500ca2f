//go:build integration

package ha

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

func pullCable(t *testing.T, b *bed, seen *result) {
	owner := b.owner(t)
	b.strike(owner)
	owner.unplug(t)
	harness.Keep(long)
	owner.plugIn(t, owner.address)
	seen.ended()
}

// healed ends the faults of the network, and notes how long several hosts have the address then.
func (b *bed) healed(t *testing.T, seen *result, hosts ...host) {
	t.Helper()
	for _, h := range hosts {
		h.hear(t)
	}
	seen.ended()
	began := time.Now()
	b.owner(t)
	seen.within("one owner", time.Since(began), time.Second)
}

// split cuts the host with the address off from the two others. Clients reach all three.
func split(t *testing.T, b *bed, seen *result) {
	owner := b.owner(t)
	owner.deaf(t, b.others(owner)...)
	for _, h := range b.others(owner) {
		h.deaf(t, owner)
	}
	b.keep(seen, long, b.hosts...)
	b.healed(t, seen, b.hosts...)
}

// oneWay: the others no longer hear the host with the address, which hears them.
func oneWay(t *testing.T, b *bed, seen *result) {
	owner := b.owner(t)
	others := b.others(owner)
	for _, h := range others {
		h.deaf(t, owner)
	}
	b.keep(seen, long, b.hosts...)
	b.healed(t, seen, others...)
}

// ring: each host hears one of the others, and each another one.
func ring(t *testing.T, b *bed, seen *result) {
	for i, h := range b.hosts {
		h.deaf(t, b.hosts[(i+1)%len(b.hosts)])
	}
	b.keep(seen, long, b.hosts...)
	b.healed(t, seen, b.hosts...)
}

func lossyNetwork(t *testing.T, b *bed, seen *result) {
	for _, h := range b.hosts {
		h.filter(t, "-i eth0 -m statistic --mode random --probability 0.1 -j DROP")
	}
	b.keep(seen, time.Minute, b.hosts...)
	for _, h := range b.hosts {
		h.hear(t)
	}
	seen.ended()
	moves, _, _ := b.address.counted()
	seen.atMost("moves", moves, 3)
}

// slowNetwork needs a kernel module that not every machine has.
func slowNetwork(t *testing.T, b *bed, seen *result) {
	for _, h := range b.hosts {
		if _, err := h.run("tc qdisc add dev eth0 root netem delay 75ms 50ms"); err != nil {
			seen.impossible = "this machine's kernel has no netem"
			return
		}
		t.Cleanup(func() { _, _ = h.run("tc qdisc del dev eth0 root") })
	}
	b.keep(seen, 3*long, b.hosts...)
	for _, h := range b.hosts {
		h.sh(t, "tc qdisc del dev eth0 root")
	}
	seen.ended()
	seen.stays(b)
}

// cutConsul cuts Consul's traffic between the host and all others, and nothing else.
func (b *bed) cutConsul(t *testing.T, h host) {
	t.Helper()
	ports := func(from host) (rules []string) {
		for _, kind := range []string{"-p tcp --dport 8300:8302", "-p tcp --sport 8300:8302", "-p udp --dport 8301:8302"} {
			rules = append(rules, "-s "+from.address+" "+kind+" -j DROP")
		}
		return rules
	}
	var fromOthers []string
	for _, other := range b.others(h) {
		fromOthers = append(fromOthers, ports(other)...)
		other.filter(t, ports(h)...)
	}
	h.filter(t, fromOthers...)
}

// otherLeads: not the host with the address, so that nothing but Consul is concerned.
func otherLeads(t *testing.T, b *bed) { b.lead(t, b.others(b.owner(t))[0]) }

func leaderInMinority(t *testing.T, b *bed, seen *result) {
	leader := b.leader(t)
	b.cutConsul(t, leader)
	others := b.others(leader)
	seen.change(t, b, 3*time.Second, others[0], others...)
	b.keep(seen, long, b.hosts...)
	for _, h := range b.hosts {
		h.hear(t)
	}
	seen.ended()
	seen.stays(b)
}

// allAddressesChange: as with DHCP after a power failure.
func allAddressesChange(t *testing.T, b *bed, seen *result) {
	b.strike(b.hosts...)
	another := func(h host) string { return strings.Replace(h.address, ".2", ".5", 1) }
	b.rebootWith(t, another)
	var wrong error
	for _, h := range b.hosts {
		_, err := command(time.Minute, "curl", "--silent", "--insecure", "--retry", "60", "--retry-delay", "1", "--retry-all-errors",
			"--output", "/dev/null", "https://"+another(h)+":14267/")
		wrong = errors.Join(wrong, err)
	}
	seen.check("every HAProxy starts", wrong)
	b.rebootWith(t, func(h host) string { return h.address })
	seen.ended()
}

// rebootWith kills all hosts and starts them again, each with its address.
func (b *bed) rebootWith(t *testing.T, address func(host) string) {
	t.Helper()
	for _, h := range b.hosts {
		h.kill(t)
		h.unplug(t)
	}
	for _, h := range b.hosts {
		h.plugIn(t, address(h))
		h.start(t)
	}
}
