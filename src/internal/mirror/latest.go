package mirror

import (
	"sync"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

// latest holds the newest snapshot only: one that nobody has read is replaced.
type latest struct {
	mu sync.Mutex
	c  chan registry.Snapshot
}

func newLatest() *latest { return &latest{c: make(chan registry.Snapshot, 1)} }

func (l *latest) put(snap registry.Snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.c:
	default:
	}
	l.c <- snap
}
