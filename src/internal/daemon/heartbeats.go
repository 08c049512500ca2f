package daemon

import (
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/mirror"
)

// stuck is how long a loop may be silent before /healthz calls it dead. It is longer than a turn may take.
const stuck = mirror.LongestTurn + 15*time.Second

// heartbeats know when each loop turned last: how long after the start, by the monotonic clock, which does not jump when
// somebody sets the time.
type heartbeats struct {
	clock   clockwork.Clock
	started time.Time
	last    []atomic.Int64
}

func newHeartbeats(clock clockwork.Clock, loops int) *heartbeats {
	return &heartbeats{clock: clock, started: clock.Now(), last: make([]atomic.Int64, loops)}
}

func (h *heartbeats) beat(loop int) { h.last[loop].Store(int64(h.clock.Since(h.started))) }

// silence is how long the loop has not turned that is silent longest.
func (h *heartbeats) silence() time.Duration {
	var longest time.Duration
	for i := range h.last {
		longest = max(longest, h.clock.Since(h.started)-time.Duration(h.last[i].Load()))
	}
	return longest
}
