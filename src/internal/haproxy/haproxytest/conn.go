package haproxytest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
)

// Conn is a connection to the worker that accepted it.
type Conn struct {
	haproxy *HAProxy
	pid     int
	gone    chan struct{}
	close   func()
}

// ErrAway is a HAProxy that does not run.
var ErrAway = errors.New("connection refused")

// Dial connects to the present worker.
func (h *HAProxy) Dial(context.Context) (*Conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.away {
		return nil, ErrAway
	}
	gone := make(chan struct{})
	c := &Conn{haproxy: h, pid: h.pid, gone: gone, close: sync.OnceFunc(func() { close(gone) })}
	h.conns = append(h.conns, c)
	return c, nil
}

// Exec executes the commands in order. After a fault that loses the connection it returns the answers from before.
func (c *Conn) Exec(ctx context.Context, cmds []haproxy.Command) ([]string, error) {
	var replies []string
	for _, cmd := range cmds {
		reply, err := c.exec(ctx, cmd.String())
		if err != nil {
			c.Close()
			return replies, err
		}
		replies = append(replies, reply)
	}
	return replies, nil
}

func (c *Conn) exec(ctx context.Context, line string) (string, error) {
	h := c.haproxy
	h.mu.Lock()
	defer h.mu.Unlock()
	if ctx.Err() != nil {
		return "", fmt.Errorf("wait for HAProxy's answer: %w", ctx.Err())
	}
	fault := None
	if h.Before != nil {
		fault = h.Before(h.count(), line)
	}
	select {
	case <-c.gone:
		return "", io.ErrUnexpectedEOF
	default:
	}
	switch fault {
	case Refuse:
		return "Permission denied\n", nil
	case Lose:
		return "", io.ErrUnexpectedEOF
	case LoseAnswer:
		h.run(line, c.pid != h.pid)
		return "", io.ErrUnexpectedEOF
	}
	return h.run(line, c.pid != h.pid), nil
}

// Gone is closed when the connection has ended.
func (c *Conn) Gone() <-chan struct{} { return c.gone }

// Close ends the connection.
func (c *Conn) Close() { c.close() }
