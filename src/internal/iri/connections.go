package iri

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

const (
	// maxAnswer is how much of an answer is read. The largest answers that are
	// asked for here are a few kB; a node must not be able to fill our memory.
	maxAnswer = 1 << 20
	// maxHeader is the same for the header of an answer, and maxWire for all
	// that is read of its body: chunks of one byte are six bytes each.
	maxHeader = 64 << 10
	maxWire   = 2*maxAnswer + maxHeader
	// maxInterim bounds the answers 100 to 199 before the answer.
	maxInterim = 5
	// idleTimeout is shorter than the 500 s for which IRI says that it keeps a
	// connection, and longer than the usual check interval of 30 s.
	idleTimeout = 90 * time.Second
)

var (
	errHeader   = errors.New("response headers exceeded the limit")
	errTooLarge = errors.New("the answer exceeded the limit")
)

// connections sends requests, and keeps one connection to each node.
//
// net/http's own Transport has two goroutines and two buffers for each kept
// connection: at 2000 nodes 25 MiB and twice the CPU time. HTTP itself is written
// and read by net/http here, too.
type connections struct {
	tls    *tls.Config
	dialer net.Dialer

	mu    sync.Mutex
	idle  map[node]*connection
	swept time.Time
}

// node is what a connection is made to.
type node struct{ scheme, host, port string }

type connection struct {
	net.Conn // TLS, or the socket
	socket   *net.TCPConn
	since    time.Time // when it became idle
	// left is how much may be read still, exceeded what it is when more comes,
	// and answered whether anything has been read of the present answer.
	left     int
	exceeded error
	answered bool
	// ended: the other side has closed.
	ended bool
}

// answer is a whole answer.
type answer struct {
	status int
	header http.Header
	body   []byte
}

var (
	readers = sync.Pool{New: func() any { return bufio.NewReader(nil) }}
	writers = sync.Pool{New: func() any { return bufio.NewWriter(nil) }}
)

// send sends a request that may be repeated, and returns the whole answer.
func (c *connections) send(ctx context.Context, to node, req *http.Request) (answer, error) {
	if conn := c.take(to); conn != nil {
		a, keep, err := conn.exchange(ctx, req)
		if err == nil || conn.answered || ctx.Err() != nil {
			c.done(to, conn, keep)
			return a, err
		}
		// It was closed by the node just as it was used.
		_ = conn.Close()
		if req.Body, err = req.GetBody(); err != nil {
			return answer{}, err
		}
	}
	conn, err := c.dial(ctx, to)
	if err != nil {
		return answer{}, cause(ctx, err)
	}
	a, keep, err := conn.exchange(ctx, req)
	c.done(to, conn, keep)
	return a, err
}

// cause prefers the reason of the context to what it made of the connection.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (c *connections) dial(ctx context.Context, to node) (*connection, error) {
	raw, err := c.dialer.DialContext(ctx, "tcp", net.JoinHostPort(to.host, to.port))
	if err != nil {
		return nil, err
	}
	conn := &connection{Conn: raw, socket: raw.(*net.TCPConn)}
	if to.scheme != "https" {
		return conn, nil
	}
	config := c.tls
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName = to.host
	}
	secure := tls.Client(raw, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	conn.Conn = secure
	return conn, nil
}

// take returns a kept connection that is as it was left, or nil.
func (c *connections) take(to node) *connection {
	c.mu.Lock()
	conn := c.idle[to]
	delete(c.idle, to)
	c.mu.Unlock()
	if conn != nil && !(time.Since(conn.since) < idleTimeout && conn.silent()) {
		_ = conn.Close()
		return nil
	}
	return conn
}

// done keeps a connection or closes it.
func (c *connections) done(to node, conn *connection, keep bool) {
	if !keep {
		_ = conn.Close()
		return
	}
	conn.since = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.idle[to]; old != nil {
		_ = old.Close()
	}
	c.idle[to] = conn
	if time.Since(c.swept) < idleTimeout {
		return
	}
	c.swept = conn.since
	for to, conn := range c.idle { // of nodes that are asked no more
		if time.Since(conn.since) >= idleTimeout {
			_ = conn.Close()
			delete(c.idle, to)
		}
	}
}

// close gives up what is idle.
func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.idle {
		_ = conn.Close()
	}
	clear(c.idle)
}

// silent is false when the other side has closed, or has sent what nobody asked
// for, such as the 408 of a server that did not want to wait.
func (c *connection) silent() bool {
	raw, err := c.socket.SyscallConn()
	if err != nil {
		return false
	}
	silent := false
	err = raw.Read(func(fd uintptr) bool {
		var one [1]byte
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		silent = errors.Is(err, syscall.EAGAIN)
		return true
	})
	return err == nil && silent
}

// Read reads no more than the limit of the present part of an answer.
func (c *connection) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, c.exceeded
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	c.answered = c.answered || n > 0
	c.ended = c.ended || errors.Is(err, io.EOF)
	return n, err
}

// exchange sends a request and reads the whole answer. keep tells whether the
// connection can be used again.
func (c *connection) exchange(ctx context.Context, req *http.Request) (a answer, keep bool, err error) {
	c.answered = false
	// A deadline in the past wakes who waits for the connection.
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	a, keep, err = c.talk(req)
	if !stop() {
		return a, false, cause(ctx, err)
	}
	return a, keep, err
}

func (c *connection) talk(req *http.Request) (a answer, keep bool, err error) {
	w := writers.Get().(*bufio.Writer)
	w.Reset(c)
	defer func() { w.Reset(nil); writers.Put(w) }()
	if err := errors.Join(req.Write(w), w.Flush()); err != nil {
		return a, false, err
	}
	r := readers.Get().(*bufio.Reader)
	r.Reset(c)
	defer func() { r.Reset(nil); readers.Put(r) }()
	c.left, c.exceeded = maxHeader, errHeader
	resp, err := readResponse(r, req)
	switch {
	case err != nil && c.ended: // half a line looks malformed
		return a, false, io.ErrUnexpectedEOF
	case err != nil:
		return a, false, err
	}
	c.left, c.exceeded = maxWire, errTooLarge
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = errTooLarge
	}
	keep = err == nil && !resp.Close && r.Buffered() == 0
	return answer{resp.StatusCode, resp.Header, body}, keep, err
}

// readResponse skips what comes before the answer itself.
func readResponse(r *bufio.Reader, req *http.Request) (*http.Response, error) {
	for range maxInterim {
		resp, err := http.ReadResponse(r, req)
		if err != nil || resp.StatusCode >= 200 {
			return resp, err
		}
	}
	return nil, errHeader
}
