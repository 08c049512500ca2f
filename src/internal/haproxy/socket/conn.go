package socket

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
)

const (
	// window is how many commands are in flight at most. A larger one gains nothing: 64 keeps HAProxy busy and leaves
	// event-loop turns for traffic.
	window = 64
	// answerTimeout bounds the wait for one answer when the context has no earlier deadline. HAProxy answers in
	// milliseconds; a socket that hangs must not hang its caller.
	answerTimeout = 5 * time.Second
	// prompt ends every answer in HAProxy's interactive mode. It is the only framing that is the same from 2.6 to 3.4.
	prompt = "\n> "
)

// Conn is one connection to a stats socket in interactive ("prompt") mode. It is not safe for concurrent use, and useless
// after an error of its own: what comes next on the wire could be the answer to something else.
//
// A connection stays with the worker that accepted it. After a reload of HAProxy it still talks to the old one: see
// haproxy.Info.Stopping.
type Conn struct {
	conn net.Conn
	// replies come in the portions in which they arrived: handing over each alone would cost more than reading it.
	replies chan []string
	pending []string
	// err is why the reader stopped. It may be read once gone is closed.
	err   error
	gone  chan struct{}
	close func()
}

// ErrNoConnection is a HAProxy that cannot be reached, or ends the connection before its first answer, as one that is
// just starting does.
var ErrNoConnection = errors.New("connect to HAProxy")

// Dial connects to the stats socket at path.
func Dial(ctx context.Context, path string) (*Conn, error) {
	nc, err := (&net.Dialer{Timeout: answerTimeout}).DialContext(ctx, "unix", path)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w (HAProxy does not run, or somebody has removed its socket, which only a restart of HAProxy brings back)", err)
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		err = fmt.Errorf("%w (HAProxy does not run: see systemctl status haproxy)", err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoConnection, err)
	}
	c := &Conn{conn: nc, replies: make(chan []string, window), gone: make(chan struct{})}
	closed := make(chan struct{})
	c.close = sync.OnceFunc(func() {
		close(closed)
		_ = nc.Close()
	})
	go c.read(closed)
	if _, err := c.Exec(ctx, []haproxy.Command{haproxy.Interactive()}); err != nil {
		c.Close()
		return nil, fmt.Errorf("%w at %s: %w", ErrNoConnection, path, err)
	}
	return c, nil
}

// Close ends the connection.
func (c *Conn) Close() { c.close() }

// Gone is closed as soon as the connection has ended, also while no command is in flight: a HAProxy that died is noticed
// at once.
func (c *Conn) Gone() <-chan struct{} { return c.gone }

// Exec sends the commands, a window of them ahead of the answers, and returns the answers in order. On an error it returns
// those that came before it and closes the connection; whether the other commands ran is unknown.
func (c *Conn) Exec(ctx context.Context, cmds []haproxy.Command) ([]string, error) {
	replies := make([]string, 0, len(cmds))
	sent := 0
	for len(replies) < len(cmds) {
		// Half a window at a time: one write for many lines.
		if sent-len(replies) <= window/2 && sent < len(cmds) {
			end := min(len(replies)+window, len(cmds))
			if err := c.write(ctx, cmds[sent:end]); err != nil {
				c.Close()
				return replies, err
			}
			sent = end
		}
		reply, err := c.next(ctx)
		if err != nil {
			c.Close()
			return replies, err
		}
		replies = append(replies, reply)
	}
	return replies, nil
}

func (c *Conn) write(ctx context.Context, cmds []haproxy.Command) error {
	var lines strings.Builder
	for _, cmd := range cmds {
		cmd.Encode(&lines)
	}
	until := time.Now().Add(answerTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(until) {
		until = d
	}
	if err := c.conn.SetWriteDeadline(until); err != nil {
		return fmt.Errorf("write to HAProxy: %w", err)
	}
	if _, err := io.WriteString(c.conn, lines.String()); err != nil {
		return fmt.Errorf("write to HAProxy: %w", err)
	}
	return nil
}

// next waits for one answer.
func (c *Conn) next(ctx context.Context) (string, error) {
	if len(c.pending) == 0 {
		timer := time.NewTimer(answerTimeout)
		defer timer.Stop()
		select {
		case portion, ok := <-c.replies:
			if !ok {
				return "", fmt.Errorf("read HAProxy's answer: %w", c.err)
			}
			c.pending = portion
		case <-ctx.Done():
			return "", fmt.Errorf("wait for HAProxy's answer: %w", ctx.Err())
		case <-timer.C:
			return "", fmt.Errorf("HAProxy has not answered for %s", answerTimeout)
		}
	}
	reply := c.pending[0]
	c.pending = c.pending[1:]
	return reply, nil
}

// read passes every answer on until the connection ends. An answer without its prompt is incomplete, and never passed
// on.
func (c *Conn) read(closed <-chan struct{}) {
	defer c.Close()
	defer close(c.replies)
	defer close(c.gone)
	r := bufio.NewReaderSize(c.conn, 64<<10)
	for {
		var portion []string
		var err error
		for len(portion) == 0 || len(portion) < window && r.Buffered() > 0 && err == nil {
			var reply string
			if reply, err = readReply(r); err != nil {
				break
			}
			portion = append(portion, reply)
		}
		if len(portion) > 0 {
			select {
			case c.replies <- portion:
			case <-closed: // more answers than commands
				c.err = net.ErrClosed
				return
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			c.err = err
			return
		}
	}
}

// readReply reads up to the next prompt.
func readReply(r *bufio.Reader) (string, error) {
	var buf bytes.Buffer
	for {
		part, err := r.ReadSlice('>')
		buf.Write(part)
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return "", err
		}
		if !bytes.HasSuffix(buf.Bytes(), []byte(prompt[:2])) {
			continue
		}
		next, err := r.ReadByte()
		if err != nil {
			return "", err
		}
		if next == prompt[2] {
			return string(buf.Bytes()[:buf.Len()-2]), nil
		}
		_ = r.UnreadByte() // cannot fail right after ReadByte
	}
}
