//go:build integration

package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// target is where requests go, and the source address they come from.
type target struct {
	addr string
	tls  *tls.Config // nil: without TLS
	from string      // "": the system chooses
}

func (to target) dial() (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	if to.from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(to.from)}
		// The port is chosen once the other end is known; otherwise a source runs out of ports.
		d.Control = func(_, _ string, c syscall.RawConn) error {
			var failed error
			err := c.Control(func(fd uintptr) {
				failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
			})
			return errors.Join(err, failed)
		}
	}
	conn, err := d.DialContext(context.Background(), "tcp", to.addr)
	if err != nil || to.tls == nil {
		return conn, err
	}
	secured := tls.Client(conn, to.tls)
	if err := conn.SetDeadline(time.Now().Add(15 * time.Second)); err != nil {
		return nil, err
	}
	if err := secured.Handshake(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

// caller sends requests one after another on one connection, in HTTP/1.1. It does as little as possible, because it
// shares the cores with what it measures.
type caller struct {
	to   target
	conn net.Conn
	r    *bufio.Reader
}

// do returns the status once the whole answer has arrived.
func (c *caller) do(request []byte) (int, error) {
	if c.conn == nil {
		conn, err := c.to.dial()
		if err != nil {
			return 0, err
		}
		c.conn, c.r = conn, bufio.NewReaderSize(conn, 4<<10)
	}
	status, keep, err := c.exchange(request)
	if err != nil || !keep {
		c.close()
	}
	return status, err
}

func (c *caller) exchange(request []byte) (status int, keep bool, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(15 * time.Second)); err != nil {
		return 0, false, err
	}
	if _, err := c.conn.Write(request); err != nil {
		return 0, false, err
	}
	first, length, keep, err := readHead(c.r)
	if err != nil {
		return 0, false, err
	}
	if _, err := c.r.Discard(length); err != nil {
		return 0, false, err
	}
	_, rest, _ := strings.Cut(first, " ")
	status, err = strconv.Atoi(rest[:min(3, len(rest))])
	return status, keep, err
}

func (c *caller) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// readHead reads the first line and the headers of a request or an answer.
func readHead(r *bufio.Reader) (first string, length int, keep bool, err error) {
	keep = true
	for {
		row, err := r.ReadSlice('\n')
		if err != nil {
			return "", 0, false, err
		}
		row = bytes.TrimRight(row, "\r\n")
		name, value, isHeader := bytes.Cut(row, []byte(": "))
		switch {
		case len(row) == 0:
			return first, length, keep, nil
		case first == "":
			first = string(row)
		case isHeader && bytes.EqualFold(name, []byte("content-length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return "", 0, false, err
			}
		case isHeader && bytes.EqualFold(name, []byte("connection")):
			keep = !bytes.EqualFold(value, []byte("close"))
		}
	}
}

// postOf is a whole request with a body of size bytes (at least 60).
func postOf(command string, size int) []byte {
	body := `{"command":"` + command + `","trytes":["`
	body += strings.Repeat("9", max(0, size-len(body)-3)) + `"]}`
	return []byte(fmt.Sprintf("POST / HTTP/1.1\r\nHost: iri.example.org\r\nContent-Type: application/json\r\nX-IOTA-API-Version: 1\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
}

// quickNode is an IRI node that answers everything at once: with 1 kB, or with 2 MB to getTrytes. It costs little more
// than the system calls.
func quickNode(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var group sync.WaitGroup
	var open sync.Map
	group.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			open.Store(conn, nil)
			group.Go(func() {
				answerAll(conn)
				_ = conn.Close()
				open.Delete(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		open.Range(func(conn, _ any) bool { _ = conn.(net.Conn).Close(); return true })
		group.Wait()
	})
	return l.Addr().String()
}

func answerAll(conn net.Conn) {
	answer := func(size int) []byte {
		return []byte(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n{\"duration\":0,\"x\":\"%s\"}", size, strings.Repeat("9", size-21)))
	}
	small, large := answer(1000), []byte(nil)
	r := bufio.NewReaderSize(conn, 16<<10)
	for {
		_, length, _, err := readHead(r)
		if err != nil {
			return
		}
		start, err := r.Peek(min(length, 40))
		if err != nil {
			return
		}
		out := small
		if bytes.Contains(start, []byte("getTrytes")) {
			if large == nil {
				large = answer(2_000_000)
			}
			out = large
		}
		if _, err := r.Discard(length); err != nil {
			return
		}
		if _, err := conn.Write(out); err != nil {
			return
		}
	}
}

// trusting returns a client's TLS configuration for the certificate in the file.
func trusting(t *testing.T, file string) *tls.Config {
	t.Helper()
	config, err := harness.Trusting(file)
	require.NoError(t, err)
	return config
}

// what describes the end of a request for a table: the status, or how it failed.
func what(status int, err error) string {
	var timeout net.Error
	switch {
	case err == nil:
		return strconv.Itoa(status)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	default:
		return err.Error()
	}
}
