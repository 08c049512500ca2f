package ports

import (
	"context"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// share listens, and shares its port with every other socket that asks for the same.
func share(t *testing.T, address string) *net.TCPListener {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		cerr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		if cerr != nil {
			return cerr
		}
		return err
	}}
	l, err := config.Listen(t.Context(), "tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l.(*net.TCPListener)
}

// holder is a process that has the sockets and does nothing.
func holder(t *testing.T, sockets ...*net.TCPListener) int {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, "sleep", "60")
	for _, s := range sockets {
		f, err := s.File()
		require.NoError(t, err)
		defer func(f *os.File) { _ = f.Close() }(f)
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	return cmd.Process.Pid
}

func TestASocketThatTwoProcessesShareIsNotListenedAtTwice(t *testing.T) {
	first := share(t, "127.0.0.1:0")
	address := first.Addr().String()
	second, other := share(t, address), share(t, "127.0.0.1:0")
	old, heir, rival := holder(t, first), holder(t, first, other), holder(t, second, other)

	twice, err := ListenedTwice(old, heir)
	require.NoError(t, err)
	assert.Empty(t, twice)
	twice, err = ListenedTwice(old, rival)
	require.NoError(t, err)
	assert.Equal(t, []string{address}, twice)
	assert.Subset(t, Children(os.Getpid()), []int{old, heir, rival})
}
