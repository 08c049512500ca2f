// Package sleep waits on an injected clock.
package sleep

import (
	"context"
	"time"

	"github.com/jonboulle/clockwork"
)

// Context returns after d, or as soon as the context ends.
func Context(ctx context.Context, clock clockwork.Clock, d time.Duration) {
	timer := clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.Chan():
	}
}
