//go:build integration

package ha

import (
	"testing"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// onOwner runs a command where the address is.
func onOwner(script string) func(*testing.T, *bed, *result) {
	return func(t *testing.T, b *bed, _ *result) { b.owner(t).sh(t, script) }
}

func killHAProxy(t *testing.T, b *bed, _ *result) {
	owner := b.owner(t)
	b.strike(owner)
	owner.sh(t, "docker kill haproxy")
}

// stopWorker: the worker is the master's child. It goes on when the address has long moved.
func stopWorker(t *testing.T, b *bed, seen *result) {
	owner := b.owner(t)
	b.strike(owner)
	owner.sh(t, "pkill -STOP -x haproxy --parent $(pgrep -o -x haproxy)")
	harness.Keep(long)
	owner.sh(t, "pkill -CONT -x haproxy")
	seen.ended()
}

func killHandler(t *testing.T, b *bed, seen *result) {
	b.owner(t).sh(t, "systemctl kill --signal KILL iri-lb-handler")
	harness.Keep(long / 2)
	seen.stays(b)
}

func killKeepalived(t *testing.T, b *bed, _ *result) {
	b.owner(t).sh(t, "systemctl kill --signal KILL keepalived")
	harness.Keep(long / 2)
}
