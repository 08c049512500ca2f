package mirror

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jonboulle/clockwork"
	"golang.org/x/sys/unix"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/sleep"
)

// lockInterval is how often a lock that somebody else holds is tried again.
const lockInterval = 20 * time.Millisecond

// lockFolder keeps reconciliations of several callers apart: the daemon, Consul's watch and HAProxy's unit. The lock is an
// flock on the folder of HAProxy's socket, which all of them can open, on the host and in a container.
func lockFolder(ctx context.Context, clock clockwork.Clock, socket string) (unlock func(), err error) {
	dir := filepath.Dir(socket)
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("lock the folder of HAProxy's socket: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", dir, err)
		}
		sleep.Context(ctx, clock, lockInterval)
		if ctx.Err() != nil {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s, held by %s: %w", dir, lockOwner(f.Name()), ctx.Err())
		}
	}
}
