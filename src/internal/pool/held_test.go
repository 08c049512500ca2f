package pool

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy/haproxytest"
)

// checkedBackend has slots that HAProxy checks, and whose checks pass only when a test says so.
func checkedBackend(slots int) *backend {
	b := &backend{HAProxy: haproxytest.New()}
	b.SlowChecks = true
	b.AddBackend("b", haproxytest.Template{Prefix: Plain.Prefix(), Slots: slots, Checked: true},
		haproxytest.Template{Prefix: Unverified.Prefix(), Slots: slots, Checked: true})
	b.sni = b.AddMap(sniMap.String())
	return b
}

// up is how many servers HAProxy can send a request to.
func (b *backend) up() int {
	n := 0
	for _, s := range b.Servers("b") {
		if (Slot{Server: *s}).Usable() {
			n++
		}
	}
	return n
}

func TestASlotLeavesWhenItsReplacementIsUp(t *testing.T) {
	for name, test := range map[string]struct{ before, after []Node }{
		"another address":     {[]Node{node("10.0.0.1:1")}, []Node{node("10.0.0.2:1")}},
		"another scheme":      {[]Node{node("10.0.0.1:1")}, []Node{node("10.0.0.1:1", tls(Unverified))}},
		"maintenance":         {[]Node{node("10.0.0.1:1")}, []Node{node("10.0.0.1:1", health(Maintenance)), node("10.0.0.2:1")}},
		"all of them at once": {[]Node{node("10.0.0.1:1"), node("10.0.0.3:1")}, []Node{node("10.0.0.2:1")}},
	} {
		t.Run(name, func(t *testing.T) {
			b := checkedBackend(3)
			_, err := b.settle(test.before)
			require.NoError(t, err)
			b.PassChecks()
			p, err := b.settle(test.after)
			require.NoError(t, err)
			assert.Len(t, p.Held, 1)
			assert.Equal(t, 1, b.up(), "the old one serves until the new one is up")
			b.PassChecks()
			p, err = b.settle(test.after)
			require.NoError(t, err)
			assert.Empty(t, p.Held)
			assert.Len(t, b.serving(), 1)
		})
	}
}

func TestALastServerWithoutReplacementLeavesWhenItIsTold(t *testing.T) {
	for name, after := range map[string][]Node{
		"deregistered": nil, "in maintenance": {node("10.0.0.1:1", health(Maintenance))}, "failing": {node("10.0.0.1:1", health(Critical)), node("10.0.0.2:1")},
	} {
		t.Run(name, func(t *testing.T) {
			b := checkedBackend(3)
			_, err := b.settle([]Node{node("10.0.0.1:1")})
			require.NoError(t, err)
			b.PassChecks()
			_, err = b.settle(after)
			require.NoError(t, err)
			assert.Nil(t, b.serving()[node("10.0.0.1:1").Addr])
		})
	}
}

// Nodes are registered, deregistered, put into maintenance and taken out of it in any order, while HAProxy's checks pass
// late. As long as one node is to serve, one server is up, after every single command.
func TestAPoolNeverLosesItsLastServerInMaintenance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := checkedBackend(6)
		state := rapid.SampledFrom([]string{"passing", "https", "maintenance", "absent"})
		if _, err := b.settle([]Node{node("10.0.0.1:1")}); err != nil {
			t.Fatal(err)
		}
		b.PassChecks()
		for range rapid.IntRange(1, 8).Draw(t, "changes") {
			nodes := []Node{node(fmt.Sprintf("10.0.0.%d:1", rapid.IntRange(1, 4).Draw(t, "serves")))}
			for i := 5; i < 9; i++ {
				addr := fmt.Sprintf("10.0.0.%d:1", i)
				switch state.Draw(t, addr) {
				case "passing":
					nodes = append(nodes, node(addr))
				case "https":
					nodes = append(nodes, node(addr, tls(Unverified)))
				case "maintenance":
					nodes = append(nodes, node(addr, health(Maintenance)))
				}
			}
			for range rapid.IntRange(1, 4).Draw(t, "steps") {
				for _, cmd := range Make(nodes, b.read()).Commands() {
					if err := b.run(cmd); err != nil {
						t.Fatal(err)
					}
					if b.up() == 0 {
						t.Fatalf("no server is up after %q", cmd)
					}
				}
				if rapid.Bool().Draw(t, "checks pass") {
					b.PassChecks()
				}
			}
		}
	})
}
