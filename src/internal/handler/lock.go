package handler

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lockPoll is how often a taken lock is tried again.
const lockPoll = 20 * time.Millisecond

// lock serialises passes of several callers: the daemon, Consul's watch and
// HAProxy's unit. It is taken on the folder that holds HAProxy's socket, which
// all of them can open, on the host and in a container.
func lock(ctx context.Context, socket string) (unlock func(), err error) {
	dir := filepath.Dir(socket)
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("lock HAProxy's socket folder: %w", err)
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
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("lock %s, held by another pass: %w", dir, ctx.Err())
		case <-time.After(lockPoll):
		}
	}
}
