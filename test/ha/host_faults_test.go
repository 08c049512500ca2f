//go:build integration

package ha

import (
	"testing"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// long is how long most faults last.
const long = 10 * time.Second

func nothing(_ *testing.T, b *bed, seen *result) {
	harness.Keep(long)
	seen.stays(b)
}

// killFor kills hosts and starts them again.
func (b *bed) killFor(t *testing.T, seen *result, lasts time.Duration, hosts ...host) {
	t.Helper()
	b.strike(hosts...)
	for _, h := range hosts {
		h.kill(t)
	}
	b.keep(seen, lasts, b.others(hosts...)...)
	for _, h := range hosts {
		h.start(t)
	}
	seen.ended()
}

func killOwner(t *testing.T, b *bed, seen *result) { b.killFor(t, seen, long, b.owner(t)) }

func ownerLeads(t *testing.T, b *bed) { b.lead(t, b.owner(t)) }

func registerAtOwner(t *testing.T, b *bed) { b.registerAt(t, map[host][]string{b.owner(t): nodes()}) }

// killHostOfAllNodes takes a minute: Consul removes a dead server after 10 s where it may, and its nodes with it.
func killHostOfAllNodes(t *testing.T, b *bed, seen *result) {
	t.Cleanup(func() { b.spread(t) })
	b.killFor(t, seen, time.Minute, b.owner(t))
}

func killAnother(t *testing.T, b *bed, seen *result) {
	b.killFor(t, seen, long, b.others(b.owner(t))[0])
	seen.stays(b)
}

func killTwo(t *testing.T, b *bed, seen *result) {
	owner := b.owner(t)
	b.killFor(t, seen, long, owner, b.others(owner)[0])
}

func pauseOwner(t *testing.T, b *bed, seen *result) {
	owner := b.owner(t)
	b.strike(owner)
	owner.pause(t)
	harness.Keep(long)
	seen.until = time.Now()
	owner.resume(t)
	seen.ended()
}

func pauseOwnerBefore(t *testing.T, b *bed) {
	b.owner(t).pause(t)
	harness.Keep(long)
}

// resumeOwner: the host wakes up and believes that it has the address still.
func resumeOwner(t *testing.T, b *bed, seen *result) {
	began := time.Now()
	for _, h := range b.hosts {
		if h.paused() {
			b.strike(h)
			h.resume(t)
		}
	}
	seen.ended()
	b.owner(t)
	seen.within("one owner", time.Since(began), time.Second)
}
