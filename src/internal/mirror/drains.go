package mirror

import (
	"slices"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
)

// drains remembers since when slots drain. It starts anew with the process: a drain then takes longer, never less time.
type drains map[haproxy.ServerID]time.Time

func (d drains) expired(id haproxy.ServerID, timeout time.Duration, now time.Time) bool {
	since, ok := d[id]
	return ok && now.Sub(since) >= timeout
}

// update notes the slots that began to drain in the backend and forgets those that ended.
func (d drains) update(backend string, draining []haproxy.ServerID, now time.Time) {
	for id := range d {
		if id.Backend() == backend && !slices.Contains(draining, id) {
			delete(d, id)
		}
	}
	for _, id := range draining {
		if _, ok := d[id]; !ok {
			d[id] = now
		}
	}
}
