//go:build integration

package handler

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

func TestSlotChangedByHandIsPutBackAlsoWhileOthersChange(t *testing.T) {
	b := newBed(t)
	b.Run(t)
	addr := harness.At(harness.NodeA)
	b.Register(t, "a", harness.NodeA, harness.NodePort, "haproxy.maxconn=7")
	b.Register(t, "b", harness.NodeB, harness.NodePort)
	want := harness.Slot{Status: "no check", Weight: "1", MaxConn: "7"}
	b.WaitSlot(t, harness.Backend, addr, want)
	name := harness.Backend + "/" + b.Slots(t, harness.Backend)[addr].Name
	for i := range 2 {
		for _, command := range []string{"set server " + name + " state maint", "set server " + name + " weight 100", "set maxconn server " + name + " 9"} {
			_, err := b.Command(command)
			require.NoError(t, err)
		}
		changes := 0
		harness.Eventually(t, 5*b.Config.ResyncInterval, fmt.Sprintf("round %d: it is put back", i), func() error {
			if got := b.Slots(t, harness.Backend)[addr]; got.MaxConn == "7" {
				return nil
			}
			changes++
			b.Register(t, "b", harness.NodeB, harness.NodePort, fmt.Sprint("other=", changes))
			harness.Keep(100 * time.Millisecond) // the rate of the changes: ten a second
			return fmt.Errorf("after %d changes of another node it is not", changes)
		})
		b.WaitSlot(t, harness.Backend, addr, want)
	}
	_, metrics := b.Get(t, "/metrics")
	assert.Regexp(t, `iri_lb_handler_drift_total\{pool="default"\} [1-9]`, metrics)
}

// HAProxy keeps these over the slot's node, and over a reload.
func TestHAProxysCheckChangedByHandIsPutBack(t *testing.T) {
	b := harness.NewBed(t, harness.WithSlots(20))
	b.Run(t)
	addr := harness.At(harness.NodeA)
	harness.StartNode(t, harness.NodeA)
	b.Register(t, "a", harness.NodeA, harness.NodePort)
	b.WaitSlot(t, harness.Backend, addr, harness.Up)
	name := b.Slots(t, harness.Backend)[addr].Name
	slot := harness.Backend + "/" + name
	for _, command := range []string{
		"set server " + slot + " check-port 1",
		"set server " + slot + " check-addr 127.9.9.9",
		"set server " + slot + " check-addr 127.9.9.9 port 1",
		"disable health " + slot,
	} {
		t.Run(command, func(t *testing.T) {
			_, err := b.Command(command)
			require.NoError(t, err)
			require.Error(t, checkIsOurs(b.ServerState(t, harness.Backend, name)), "HAProxy has taken the command")
			harness.Eventually(t, 5*b.Config.ResyncInterval, "it is put back", func() error {
				return checkIsOurs(b.ServerState(t, harness.Backend, name))
			})
			// The pool's only node serves meanwhile, and its check is switched on later the more often it has failed.
			harness.Eventually(t, time.Minute, "HAProxy checks it again", func() error {
				if got := b.Slots(t, harness.Backend)[addr].Status; got != harness.Up.Status {
					return fmt.Errorf("it is %q", got)
				}
				// A check that the handler has off itself is not put back when it is switched off by hand.
				if _, metrics := b.Get(t, "/metrics"); !readmitsNobody.MatchString(metrics) {
					return errors.New("the handler has not seen it yet")
				}
				return nil
			})
		})
	}
}

var readmitsNobody = regexp.MustCompile(`iri_lb_handler_nodes_readmitted\{pool="default",.*\} 0\n`)

// What was changed while nobody looked has taken the slot down already.
func TestSlotThatIsDownBecauseItsCheckWasChangedByHandComesUpAgain(t *testing.T) {
	b := harness.NewBed(t, harness.WithSlots(20))
	b.Run(t)
	addr := harness.At(harness.NodeA)
	harness.StartNode(t, harness.NodeA)
	b.Register(t, "a", harness.NodeA, harness.NodePort)
	b.WaitSlot(t, harness.Backend, addr, harness.Up)
	b.Daemon.Stop(syscall.SIGTERM)
	slot := harness.Backend + "/" + b.Slots(t, harness.Backend)[addr].Name
	_, err := b.Command("set server " + slot + " check-addr 127.9.9.9 port 1")
	require.NoError(t, err)
	harness.Eventually(t, 30*time.Second, "HAProxy's own checks have failed", func() error {
		if got := b.Slots(t, harness.Backend)[addr].Status; got != harness.Down.Status {
			return fmt.Errorf("it is %q", got)
		}
		return nil
	})
	b.Run(t)
	b.WaitSlot(t, harness.Backend, addr, harness.Up)
}

// checkIsOurs says what is wrong with HAProxy's check of a server. An address that was reset is shown as 0.0.0.0, and stands for the
// server's own, as "-" does.
func checkIsOurs(row map[string]string) error {
	const enabled = 0x4 // HAProxy's CHK_ST_ENABLED
	state, err := strconv.Atoi(row["srv_check_state"])
	switch {
	case err != nil:
		return err
	case state&enabled == 0:
		return errors.New("it is disabled")
	case row["srv_check_port"] != "0" || row["srv_check_addr"] != "-" && row["srv_check_addr"] != "0.0.0.0":
		return fmt.Errorf("it goes to %s port %s", row["srv_check_addr"], row["srv_check_port"])
	}
	return nil
}
