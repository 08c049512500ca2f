//go:build integration

package ha

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// node runs `iri-lb-handler node`, as an operator does.
func (h host) node(t *testing.T, arguments string) {
	t.Helper()
	h.sh(t, "CONSUL_HTTP_TOKEN=$(cat /etc/consul/consul_master_token) iri-lb-handler node "+arguments)
}

// catalog registers every node in the catalog instead of at an agent.
func (b *bed) catalog(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		b.mend(t) // a row may have ended early
		b.spread(t)
		b.hosts[0].node(t, "apply - <<<'[]'")
		b.waitWhole(t, time.Minute)
	})
	var list []string
	for _, address := range nodes() {
		list = append(list, fmt.Sprintf(`{"address": "%s", "id": "%s:14265", "check": "skip-limited=true", "interval": "%s"}`, address, address, interval))
	}
	b.hosts[0].node(t, "apply - <<<'["+strings.Join(list, ", ")+"]'")
	b.registerAt(t, nil)
}

func inCatalog(t *testing.T, b *bed) { b.catalog(t) }

// oneMore adds a node to those in the catalog.
func oneMore(t *testing.T, b *bed) {
	b.catalog(t)
	b.hosts[0].node(t, "add "+node(nodeCount+1))
	b.waitServing(t, time.Minute, node(nodeCount+1), b.hosts...)
}

// waitServing waits until the hosts have the node in service, in one slot, and returns how long that took.
func (b *bed) waitServing(t *testing.T, within time.Duration, address string, hosts ...host) time.Duration {
	t.Helper()
	return b.waitSlots(t, within, hosts, func(slots map[string]int) error { return wrongSlots(slots, address) })
}

// waitGone waits until the hosts no longer have the node in service.
func (b *bed) waitGone(t *testing.T, within time.Duration, address string, hosts ...host) time.Duration {
	t.Helper()
	return b.waitSlots(t, within, hosts, func(slots map[string]int) error {
		if slots[address] > 0 {
			return errors.New(address + " is in service")
		}
		return nil
	})
}

func (b *bed) waitSlots(t *testing.T, within time.Duration, hosts []host, wrong func(map[string]int) error) time.Duration {
	t.Helper()
	began := time.Now()
	for _, h := range hosts {
		harness.Eventually(t, within, "the slots of "+h.name, func() error {
			slots, err := h.serving()
			if err == nil {
				err = wrong(slots)
			}
			return err
		})
	}
	return time.Since(began)
}

// lastHost: two hosts are gone, and the third is started anew, part by part. Consul has no leader all the time.
func lastHost(t *testing.T, b *bed, seen *result) {
	owner := b.owner(t)
	last, gone := b.others(owner)[1], without(b.hosts, b.others(owner)[1:])
	b.strike(gone...)
	for _, h := range gone {
		h.kill(t)
	}
	b.keep(seen, long, last)
	seen.until = time.Now()
	b.strike(last) // what follows is the last host itself
	for _, restart := range []func(){
		func() { last.sh(t, "systemctl restart iri-lb-handler") },
		func() { last.sh(t, "systemctl restart haproxy") },
		func() { last.kill(t); last.start(t) },
	} {
		restart()
		b.waitSlots(t, time.Minute, []host{last}, func(slots map[string]int) error { return wrongSlots(slots, nodes()...) })
	}
	seen.check("the list comes from the disk", nil)
	for _, h := range gone {
		h.start(t)
	}
	seen.ended()
}

// deregisterMeanwhile: a host that was away still knows the node.
func deregisterMeanwhile(t *testing.T, b *bed, seen *result) {
	away := b.follower(t)
	b.strike(away)
	away.kill(t)
	left := b.others(away)
	left[0].node(t, "remove "+node(nodeCount+1))
	b.waitGone(t, time.Minute, node(nodeCount+1), left...)
	away.start(t)
	seen.ended()
	if err := b.becomesWhole(90 * time.Second); err != nil {
		return // the row says so
	}
	var back error
	for range 10 {
		harness.Keep(time.Second)
		for _, h := range b.hosts {
			if slots, err := h.serving(); err == nil && slots[node(nodeCount+1)] > 0 {
				back = errors.New("it is in service on " + h.name)
			}
		}
	}
	seen.check("the node stays gone", back)
	seen.stays(b)
}

// reap removes the dead host from Consul, as Consul does by itself after days.
func reap(t *testing.T, b *bed, seen *result) {
	away := b.follower(t)
	b.strike(away)
	away.kill(t)
	left := b.others(away)
	harness.Eventually(t, time.Minute, "Consul removes the host", func() error {
		_, err := left[0].consul("PUT", "/v1/agent/force-leave/"+away.name+"?prune") // an error once it is gone
		if members, _ := left[0].consul("GET", "/v1/agent/members"); members == "" || strings.Contains(members, `"`+away.name+`"`) {
			return errors.Join(errors.New("it is a member still"), err)
		}
		return nil
	})
	b.keep(seen, long, left...)
	away.start(t)
	seen.ended()
	seen.stays(b)
}

func failWhileHostDead(t *testing.T, b *bed, seen *result) {
	away := b.follower(t)
	b.strike(away)
	away.kill(t)
	harness.Keep(long) // Consul has noticed
	signalNode(t, node(5), "STOP")
	seen.within("out", b.waitGone(t, time.Minute, node(5), b.others(away)...), interval+timeout)
	signalNode(t, node(5), "CONT")
	away.start(t)
	seen.ended()
	seen.stays(b)
}

func unreachableFromOne(t *testing.T, b *bed, seen *result) {
	h := b.others(b.owner(t))[0]
	b.strike(h) // a request may be on its way to the node
	h.filter(t, "-s "+node(5)+" -j DROP")
	seen.within("out", b.waitGone(t, time.Minute, node(5), h), interval+timeout)
	harness.Keep(long)
	seen.check("out there only", nil)
	for _, other := range b.others(h) {
		if slots, err := other.serving(); err != nil || slots[node(5)] != 1 {
			seen.check("in service on "+other.name, errors.New("it is not"))
		}
	}
	h.hear(t)
	seen.ended()
	seen.stays(b)
}
