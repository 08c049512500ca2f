package socket

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A HAProxy that is just starting has made its master's socket, but nobody
// listens on it yet.
func TestReloadWaitsForAMasterThatIsStarting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.sock")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))

	reloaded := make(chan error, 1)
	go func() { reloaded <- Reload(t.Context(), path) }()
	select {
	case err := <-reloaded:
		require.Fail(t, "it did not wait", "%v", err)
	case <-time.After(100 * time.Millisecond):
	}
	require.NoError(t, unix.Listen(fd, 1))
	client, _, err := unix.Accept(fd)
	require.NoError(t, err)
	got := make([]byte, len("reload\n"))
	n, err := unix.Read(client, got)
	require.NoError(t, err)
	assert.Equal(t, "reload\n", string(got[:n]))
	_, err = unix.Write(client, []byte("Success=1\n--\n"))
	require.NoError(t, err)
	require.NoError(t, unix.Close(client))
	assert.NoError(t, <-reloaded)
}

func TestReloadOfAMasterThatIsNotThereFailsAtOnce(t *testing.T) {
	begun := time.Now()
	err := Reload(t.Context(), filepath.Join(t.TempDir(), "master.sock"))
	assert.ErrorContains(t, err, "connect to HAProxy's master")
	assert.Less(t, time.Since(begun), answerTimeout)
}

func TestTheMastersVerdictOnAReload(t *testing.T) {
	require.NoError(t, reloadVerdict("Success=1\n--\n[NOTICE] new worker\n\n"))
	require.EqualError(t, reloadVerdict("Success=0\n--\n[ALERT] unknown keyword 'x'\n\n"),
		"HAProxy refused the new configuration and keeps the old one:\n[ALERT] unknown keyword 'x'")
	require.NoError(t, reloadVerdict(""), "2.6 gives none")
	require.ErrorContains(t, reloadVerdict("Unknown command"), "Unknown command")
}
