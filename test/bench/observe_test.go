//go:build integration

package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// line is one connection to HAProxy's runtime API in prompt mode, as thin as possible: answers are parsed only on
// request.
type line struct {
	conn net.Conn
	r    *bufio.Reader
	buf  []byte
}

func dialLine(socket string) (*line, error) {
	conn, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return nil, err
	}
	l := &line{conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
	_, err = l.ask("prompt")
	return l, err
}

// ask returns the answer, which is valid until the next call.
func (l *line) ask(command string) ([]byte, error) {
	if _, err := io.WriteString(l.conn, command+"\n"); err != nil {
		return nil, err
	}
	return l.answer()
}

func (l *line) answer() ([]byte, error) {
	l.buf = l.buf[:0]
	for {
		part, err := l.r.ReadSlice(' ')
		l.buf = append(l.buf, part...)
		if bytes.HasSuffix(l.buf, []byte("\n> ")) {
			return l.buf, nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}

// pipeline sends the commands, 64 in flight, which fits into both sides' socket buffers, and returns the first answer
// that is neither empty nor expected.
func (l *line) pipeline(commands []string) error {
	const window = 64
	for len(commands) > 0 {
		batch := commands[:min(window, len(commands))]
		commands = commands[len(batch):]
		if _, err := io.WriteString(l.conn, strings.Join(batch, "\n")+"\n"); err != nil {
			return err
		}
		for _, command := range batch {
			answer, err := l.answer()
			if err != nil {
				return err
			}
			if text := bytes.TrimSpace(bytes.TrimSuffix(answer, []byte("\n> "))); len(text) > 0 && !bytes.Contains(text, []byte("chang")) {
				return fmt.Errorf("%s: %s", command, text)
			}
		}
	}
	return nil
}

// look is the observer's interval.
const look = 2 * time.Millisecond

// observer sees HAProxy's slots from outside. It is the same for every way that is measured, and does not know who
// changes them.
type observer struct {
	socket, backend string
	// reloads: each look opens a new connection, because an open one stays with the worker from before the reload.
	reloads bool
	line    *line
}

func (o *observer) state() ([]byte, error) {
	if o.line == nil || o.reloads {
		if o.line != nil {
			_ = o.line.conn.Close()
			o.line = nil
		}
		l, err := dialLine(o.socket)
		if err != nil {
			return nil, err
		}
		o.line = l
	}
	return o.line.ask("show servers state " + o.backend)
}

// wait polls until the node at addr is, or is not, in service, and returns when that was.
func (o *observer) wait(t *testing.T, addr string, serves bool, within time.Duration) time.Time {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		next := time.Now().Add(look)
		text, err := o.state()
		if err == nil && inService(text, addr) == serves {
			return time.Now()
		}
		if err != nil && !o.reloads {
			require.NoError(t, err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %s in service = %t was not seen within %s (%v)", o.backend, addr, serves, within, err)
		}
		time.Sleep(time.Until(next)) // between two looks
	}
}

// count is the number of slots in service.
func (o *observer) count(t *testing.T) int {
	t.Helper()
	text, err := o.state()
	if err != nil {
		return 0
	}
	n := 0
	for row := range bytes.Lines(text) {
		if serving(bytes.Fields(row)) {
			n++
		}
	}
	return n
}

func inService(text []byte, addr string) bool {
	key := []byte(" " + addr + " ")
	for {
		at := bytes.Index(text, key)
		if at < 0 {
			return false
		}
		row := text[bytes.LastIndexByte(text[:at], '\n')+1:]
		if end := bytes.IndexByte(row, '\n'); end >= 0 {
			row = row[:end]
		}
		if serving(bytes.Fields(row)) {
			return true
		}
		text = text[at+1:]
	}
}

// serving reads one row of "show servers state" (management guide, version 1 of the format): in service is a slot with
// an address whose administrative state has neither forced maintenance (0x01) nor drain (0x08) nor "no address from the
// resolver" (0x20).
func serving(fields [][]byte) bool {
	const addr, admin, port, all = 4, 6, 18, 19
	if len(fields) < all || bytes.Equal(fields[addr], []byte("-")) || !bytes.Equal(fields[port], []byte(strconv.Itoa(harness.NodePort))) {
		return false
	}
	bits, err := strconv.Atoi(string(fields[admin]))
	return err == nil && bits&(0x01|0x08|0x20) == 0
}
