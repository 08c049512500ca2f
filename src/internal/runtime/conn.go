package runtime

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

const (
	// window is how many commands are in flight at most. Both sides' socket
	// buffers hold that many lines, so writing first and reading then cannot
	// deadlock.
	window = 64
	// patience bounds one exchange when the context has no earlier deadline.
	// HAProxy answers in milliseconds; a socket that hangs must not hang us.
	patience = 5 * time.Second
	// prompt ends every answer in HAProxy's interactive mode. It is the only
	// framing that is the same from 2.6 to 3.4.
	prompt = "\n> "
)

// Conn is one connection to a stats socket in interactive ("prompt") mode. It
// is not safe for concurrent use.
//
// A connection stays with the worker that accepted it: after a reload of
// HAProxy it still talks to the old one. Dial again for each pass.
type Conn struct {
	conn net.Conn
	r    *bufio.Reader
}

// Dial connects to the stats socket at path.
func Dial(ctx context.Context, path string) (*Conn, error) {
	nc, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("connect to HAProxy: %w", err)
	}
	c := &Conn{conn: nc, r: bufio.NewReaderSize(nc, 64<<10)}
	if _, err := c.exchange(ctx, []Command{interactive}); err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("connect to HAProxy at %s: %w", path, err)
	}
	return c, nil
}

// interactive makes HAProxy keep the connection and end each answer by a prompt.
var interactive = Command{line: "prompt", accept: silent}

// Close ends the connection.
func (c *Conn) Close() error { return c.conn.Close() }

// Apply sends the commands, pipelined, and returns one error (or nil) for each.
// The second result is set when the connection itself failed; the commands
// without an answer then carry it too, and whether they ran is unknown.
func (c *Conn) Apply(ctx context.Context, cmds []Command) ([]error, error) {
	errs := make([]error, len(cmds))
	for start := 0; start < len(cmds); start += window {
		end := min(start+window, len(cmds))
		replies, err := c.exchange(ctx, cmds[start:end])
		for i, reply := range replies {
			errs[start+i] = cmds[start+i].err(reply)
		}
		if err != nil {
			for i := start + len(replies); i < len(cmds); i++ {
				errs[i] = err
			}
			return errs, err
		}
	}
	return errs, nil
}

// ask runs one command and returns its answer.
func (c *Conn) ask(ctx context.Context, cmd Command) (string, error) {
	replies, err := c.exchange(ctx, []Command{cmd})
	if err != nil {
		return "", fmt.Errorf("%s: %w", cmd, err)
	}
	return replies[0], cmd.err(replies[0])
}

// exchange writes at most window commands at once and reads their answers in
// order. On an error it returns the answers that came before it.
func (c *Conn) exchange(ctx context.Context, cmds []Command) ([]string, error) {
	if err := c.deadline(ctx); err != nil {
		return nil, err
	}
	var lines strings.Builder
	for _, cmd := range cmds {
		lines.WriteString(cmd.line)
		lines.WriteByte('\n')
	}
	if _, err := io.WriteString(c.conn, lines.String()); err != nil {
		return nil, fmt.Errorf("write to HAProxy: %w", err)
	}
	replies := make([]string, 0, len(cmds))
	for range cmds {
		reply, err := c.reply()
		if err != nil {
			return replies, err
		}
		replies = append(replies, reply)
	}
	return replies, nil
}

// reply reads up to the next prompt. An answer without its prompt is half an
// answer, and an error.
func (c *Conn) reply() (string, error) {
	var buf bytes.Buffer
	for {
		part, err := c.r.ReadSlice(' ')
		buf.Write(part)
		if bytes.HasSuffix(buf.Bytes(), []byte(prompt)) {
			return string(buf.Bytes()[:buf.Len()-len(prompt)]), nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return "", fmt.Errorf("read HAProxy's answer: %w", err)
		}
	}
}

func (c *Conn) deadline(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	until := time.Now().Add(patience)
	if d, ok := ctx.Deadline(); ok && d.Before(until) {
		until = d
	}
	return c.conn.SetDeadline(until)
}
