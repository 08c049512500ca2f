package socket

import (
	"bufio"
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
)

// serve answers like HAProxy's prompt mode on a socket of its own. An answer of
// "" closes the connection in the middle of a line.
func serve(t *testing.T, answer func(line string) string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				lines := bufio.NewScanner(c)
				for lines.Scan() {
					a := "\n> "
					if lines.Text() != "prompt" {
						a = answer(lines.Text())
					}
					if a == "" {
						_, _ = c.Write([]byte("half an ans"))
						return
					}
					if _, err := c.Write([]byte(a)); err != nil {
						return
					}
				}
			}()
		}
	}()
	return path
}

func server(t *testing.T, name string) haproxy.ServerID {
	t.Helper()
	id, err := haproxy.NewServerID("iri_back", name)
	require.NoError(t, err)
	return id
}

func TestAnswersComeInTheOrderOfTheCommandsThoughManyAreSentAtOnce(t *testing.T) {
	path := serve(t, func(line string) string {
		if strings.Contains(line, "weight 200") {
			return "No such server.\n\n> "
		}
		return "\n> "
	})
	c, err := Dial(t.Context(), path)
	require.NoError(t, err)
	var cmds []haproxy.Command
	for i := range 300 { // several windows
		cmds = append(cmds, haproxy.SetWeight(server(t, "http1"), min(i, 200)))
		if i > 200 {
			cmds[i] = haproxy.SetWeight(server(t, "http1"), 1)
		}
	}
	replies, err := c.Exec(t.Context(), cmds)
	require.NoError(t, err)
	require.Len(t, replies, len(cmds))
	for i, reply := range replies {
		if i == 200 {
			assert.EqualError(t, cmds[i].Err(reply), `HAProxy answered "No such server." to "set server iri_back/http1 weight 200"`)
		} else {
			assert.NoError(t, cmds[i].Err(reply))
		}
	}
}

func TestHalfAnAnswerIsAnErrorAndEndsTheConnection(t *testing.T) {
	path := serve(t, func(line string) string {
		if strings.Contains(line, "http2") {
			return ""
		}
		return "\n> "
	})
	c, err := Dial(t.Context(), path)
	require.NoError(t, err)
	replies, err := c.Exec(t.Context(), []haproxy.Command{
		haproxy.SetState(server(t, "http1"), haproxy.Ready), haproxy.SetState(server(t, "http2"), haproxy.Ready),
		haproxy.SetState(server(t, "http3"), haproxy.Ready),
	})
	require.ErrorContains(t, err, "unexpected EOF")
	assert.Len(t, replies, 1, "the answer that came before")
	<-c.Gone()
}

func TestASocketThatHangsEndsWithTheContext(t *testing.T) {
	block := make(chan struct{})
	t.Cleanup(func() { close(block) })
	path := serve(t, func(string) string { <-block; return "\n> " })
	c, err := Dial(t.Context(), path)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = c.Exec(ctx, []haproxy.Command{haproxy.ShowInfo()})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	<-c.Gone()
}

func TestTheEndOfHAProxyIsNoticedWithoutACommand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	conns := make(chan net.Conn, 1)
	go func() {
		nc, err := l.Accept()
		if err == nil {
			_, _ = nc.Write([]byte("\n> "))
			conns <- nc
		}
	}()
	c, err := Dial(t.Context(), path)
	require.NoError(t, err)
	select {
	case <-c.Gone():
		t.Fatal("it is there")
	default:
	}
	require.NoError(t, (<-conns).Close())
	select {
	case <-c.Gone():
	case <-time.After(5 * time.Second):
		t.Fatal("not noticed")
	}
}

func TestAMissingSocketIsNamed(t *testing.T) {
	_, err := Dial(t.Context(), "/nowhere/admin.sock")
	require.ErrorContains(t, err, "/nowhere/admin.sock")
}

func TestASocketWithoutHAProxySaysWhatToLookAt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	l.SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
	_, err = Dial(t.Context(), path)
	require.ErrorIs(t, err, ErrNoConnection)
	assert.ErrorContains(t, err, "connection refused (HAProxy does not run: see systemctl status haproxy)")
}
