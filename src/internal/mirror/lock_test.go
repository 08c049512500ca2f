package mirror

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/stretchr/testify/require"
)

func realClock() clockwork.Clock { return clockwork.NewRealClock() }

func TestOnlyOneCallerHoldsTheLock(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "admin.sock")
	unlock, err := lockFolder(t.Context(), realClock(), socket)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 3*lockInterval)
	defer cancel()
	_, err = lockFolder(ctx, realClock(), socket)
	require.ErrorContains(t, err, "held by mirror.test (pid ")

	waited := make(chan error)
	go func() {
		unlock, err := lockFolder(t.Context(), realClock(), socket)
		if err == nil {
			unlock()
		}
		waited <- err
	}()
	unlock()
	select {
	case err := <-waited:
		require.NoError(t, err)
	case <-time.After(10 * time.Second):
		t.Fatal("the lock is free and not given")
	}
}

func TestALockWithoutItsFolderIsAnError(t *testing.T) {
	_, err := lockFolder(t.Context(), realClock(), "/nowhere/admin.sock")
	require.ErrorContains(t, err, "lock the folder of HAProxy's socket: open /nowhere")
}
