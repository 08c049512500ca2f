//go:build integration

package handler

import (
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// checkOptions are those of HAProxy's own check of a slot.
var checkOptions = regexp.MustCompile(`check inter \S+ fastinter \S+ downinter \S+ rise \d+ fall \d+`)

// newEjectingBed has a HAProxy whose own checks take a node out in less than a second.
func newEjectingBed(t *testing.T) *harness.Bed {
	t.Helper()
	h := harness.PrepareHAProxies(t, []string{"127.0.0.1"}, harness.WithSlots(20))[0]
	text := h.Configuration(t)
	require.Regexp(t, checkOptions, text)
	h.Configure(t, checkOptions.ReplaceAllString(text, "check inter 300ms fastinter 100ms downinter 300ms rise 2 fall 2"))
	h.Start(t)
	return harness.JoinBed(t, harness.StartConsul(t), h)
}

// waitStatus waits until HAProxy has so many slots of the backend with each status.
func waitStatus(t *testing.T, b *harness.Bed, within time.Duration, want map[string]int) {
	t.Helper()
	harness.Eventually(t, within, fmt.Sprint("the slots are ", want), func() error {
		got := map[string]int{}
		for _, s := range b.Slots(t, harness.Backend) {
			got[strings.Fields(s.Status)[0]]++
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("they are %v", got)
		}
		return nil
	})
}

func TestHalfOfThePoolStaysInServiceWhenHAProxysChecksOfAllFail(t *testing.T) {
	nodes := []string{harness.NodeA, harness.NodeB, harness.NodeC, "127.0.1.4"}
	b := newEjectingBed(t)
	b.Run(t)
	for _, n := range nodes {
		harness.StartNode(t, n)
		b.Register(t, n, n, harness.NodePort)
		b.WaitSlot(t, harness.Backend, harness.At(n), harness.Up)
	}
	began := time.Now()
	harness.SetNode(t, harness.NodeA, `{"fault": "bare-500"}`)
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.Down)
	t.Logf("ejected after %s", time.Since(began).Round(time.Millisecond))
	b.WaitLog(t, "a node is ejected by HAProxy's check: pool=default node=127.0.1.1")
	assert.Regexp(t, `node=127\.0\.1\.1 .* reason="Layer7 `, b.Daemon.Log())
	_, status := b.Handler(t, "status")
	assert.Regexp(t, `(?m)^127\.0\.1\.1 has been ejected for \d+s: Layer7 `, status)

	for _, n := range nodes[1:] {
		harness.SetNode(t, n, `{"fault": "bare-500"}`)
	}
	waitStatus(t, b, 5*time.Second, map[string]int{"DOWN": 2, "no": 2})
	b.WaitLog(t, "more than 50 % of pool default fails HAProxy's check")
	// The resync every 2 s leaves it so.
	harness.Throughout(t, 5*time.Second, "two nodes are in service", func() error {
		up := 0
		for _, s := range b.Slots(t, harness.Backend) {
			if s.Status != harness.Down.Status {
				up++
			}
		}
		if up < 2 {
			return fmt.Errorf("%d are", up)
		}
		return nil
	})
	assert.NotContains(t, b.Daemon.Log(), "slots were not as they were left")
	_, metrics := b.Get(t, "/metrics")
	assert.Regexp(t, `iri_lb_handler_nodes_ejected\{pool="default",.*\} 2`, metrics)
	assert.Regexp(t, `iri_lb_handler_nodes_readmitted\{pool="default",.*\} 2`, metrics)
	assert.Regexp(t, `iri_lb_handler_node_ejections_total\{node="127\.0\.1\.1:14265",pool="default",reason="L7[A-Z]+",.*\} 1`, metrics)
	_, status = b.Handler(t, "status")
	assert.Equal(t, 2, strings.Count(status, "without HAProxy's check, which would have ejected too many"))

	// Consul's word counts for a node that is in service without HAProxy's check.
	for addr, s := range b.Slots(t, harness.Backend) {
		if s.Status != harness.Down.Status {
			id := strings.TrimSuffix(addr, fmt.Sprint(":", harness.NodePort))
			b.SetHealth(t, id, api.HealthCritical)
			b.WaitSlot(t, harness.Backend, addr, harness.InMaintenance)
			b.SetHealth(t, id, api.HealthPassing)
			break
		}
	}

	began = time.Now()
	for _, n := range nodes {
		harness.SetNode(t, n, `{"fault": ""}`)
	}
	waitStatus(t, b, 15*time.Second, map[string]int{"UP": 4})
	t.Logf("all back after %s", time.Since(began).Round(time.Millisecond))
	b.WaitLog(t, "a node has returned: HAProxy's check passes again: pool=default node=127.0.1.1")
	harness.Eventually(t, 30*time.Second, "HAProxy's checks decide again", func() error {
		if !strings.Contains(b.Daemon.Log(), "HAProxy's checks decide on every node of the pool again") {
			return fmt.Errorf("they do not")
		}
		return nil
	})
	assert.Equal(t, 1, strings.Count(b.Daemon.Log(), "ejected by HAProxy's check: pool=default node=127.0.1.1 "))
}

func TestOnlyNodeIsNeverEjectedAndNoCheckStaysOffAfterARestart(t *testing.T) {
	b := newEjectingBed(t)
	b.Run(t)
	harness.StartNode(t, harness.NodeA)
	b.Register(t, "a", harness.NodeA, harness.NodePort)
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.Up)
	harness.SetNode(t, harness.NodeA, `{"fault": "bare-500"}`)
	waitStatus(t, b, 5*time.Second, map[string]int{"no": 1})
	b.RequireHandler(t, "reload")
	waitStatus(t, b, 5*time.Second, map[string]int{"no": 1})

	b.Daemon.Stop(syscall.SIGKILL)
	harness.SetNode(t, harness.NodeA, `{"fault": ""}`)
	b.Run(t)
	waitStatus(t, b, 10*time.Second, map[string]int{"UP": 1})
}
