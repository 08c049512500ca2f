package handler

import (
	"slices"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/runtime"
)

// drains remembers since when slots drain. It starts anew with the process: a
// drain then lasts longer, never shorter.
type drains map[runtime.SlotID]time.Time

func (d drains) expired(id runtime.SlotID, timeout time.Duration) bool {
	since, ok := d[id]
	return ok && time.Since(since) >= timeout
}

// update starts the clock of slots that began to drain in the backend and
// forgets those that ended.
func (d drains) update(backend string, draining []runtime.SlotID) {
	for id := range d {
		if id.Backend() == backend && !slices.Contains(draining, id) {
			delete(d, id)
		}
	}
	for _, id := range draining {
		if _, ok := d[id]; !ok {
			d[id] = time.Now()
		}
	}
}
