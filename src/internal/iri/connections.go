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
	// maxBody is the largest accepted body, in bytes. The responses needed here have a few kB; a node must not be able
	// to exhaust our memory.
	maxBody = 1 << 20
	// maxHeader is the limit for the header, maxWire for everything read of a body in transit: a chunk of one byte
	// takes six.
	maxHeader = 64 << 10
	maxWire   = 2*maxBody + maxHeader
	// maxInterim is how many 1xx responses may precede the final one.
	maxInterim = 5
	// idleTimeout is shorter than the 500 s that IRI advertises in its Keep-Alive header, and longer than the usual
	// check interval of 30 s.
	idleTimeout = 90 * time.Second
)

var (
	errHeader   = errors.New("response headers exceeded the limit")
	errTooLarge = errors.New("response body exceeded the limit")
)

// connections sends requests and keeps one idle connection per endpoint.
//
// It replaces http.Transport, which has two goroutines and two buffers for every kept connection: with 2000 nodes that
// is 25 MiB and twice the CPU time. Requests and responses are still written and parsed by net/http.
type connections struct {
	tls    *tls.Config
	dialer net.Dialer

	mu        sync.Mutex
	idle      map[endpoint]*connection
	lastSweep time.Time
}

// endpoint is what a connection leads to.
type endpoint struct{ scheme, host, port string }

type connection struct {
	net.Conn  // the TLS connection, or the socket
	socket    *net.TCPConn
	idleSince time.Time
	// remaining is how many bytes may still be read; when it is used up, Read returns limitErr.
	remaining int
	limitErr  error
	// started: at least one byte of the current response has been read.
	started bool
	// eof: the node has closed the connection.
	eof bool
}

// response is a complete response.
type response struct {
	status int
	header http.Header
	body   []byte
}

var (
	readers = sync.Pool{New: func() any { return bufio.NewReader(nil) }}
	writers = sync.Pool{New: func() any { return bufio.NewWriter(nil) }}
)

// send sends a request, which must be repeatable, and returns the complete response.
func (c *connections) send(ctx context.Context, to endpoint, req *http.Request) (response, error) {
	if conn := c.takeIdle(to); conn != nil {
		resp, reusable, err := conn.roundTrip(ctx, req)
		if err == nil || conn.started || ctx.Err() != nil {
			c.release(to, conn, reusable)
			return resp, err
		}
		// The node closed the idle connection just as it was used again.
		_ = conn.Close()
		if req.Body, err = req.GetBody(); err != nil {
			return response{}, err
		}
	}
	conn, err := c.dial(ctx, to)
	if err != nil {
		return response{}, contextCause(ctx, err)
	}
	resp, reusable, err := conn.roundTrip(ctx, req)
	c.release(to, conn, reusable)
	return resp, err
}

// contextCause returns the error of ctx, if it has one, instead of its consequence for the connection.
func contextCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (c *connections) dial(ctx context.Context, to endpoint) (*connection, error) {
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

// takeIdle removes and returns the idle connection to an endpoint, or nil when there is none that is still usable.
func (c *connections) takeIdle(to endpoint) *connection {
	c.mu.Lock()
	conn := c.idle[to]
	delete(c.idle, to)
	c.mu.Unlock()
	if conn != nil && !(time.Since(conn.idleSince) < idleTimeout && conn.quiet()) {
		_ = conn.Close()
		return nil
	}
	return conn
}

// release keeps a reusable connection as the idle one of its endpoint and closes any other. Now and then it also closes
// the connections that have been idle for too long.
func (c *connections) release(to endpoint, conn *connection, reusable bool) {
	if !reusable {
		_ = conn.Close()
		return
	}
	conn.idleSince = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.idle[to]; old != nil {
		_ = old.Close()
	}
	c.idle[to] = conn
	if time.Since(c.lastSweep) < idleTimeout {
		return
	}
	c.lastSweep = conn.idleSince
	for to, conn := range c.idle { // nodes that are no longer checked
		if time.Since(conn.idleSince) >= idleTimeout {
			_ = conn.Close()
			delete(c.idle, to)
		}
	}
}

// close closes the idle connections.
func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.idle {
		_ = conn.Close()
	}
	clear(c.idle)
}

// quiet is false when the node has closed the connection or sent data without a request, such as the 408 of a server
// whose idle timeout has passed.
func (c *connection) quiet() bool {
	raw, err := c.socket.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = raw.Read(func(fd uintptr) bool {
		var one [1]byte
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = errors.Is(err, syscall.EAGAIN)
		return true
	})
	return err == nil && quiet
}

// Read reads at most the remaining number of bytes.
func (c *connection) Read(p []byte) (int, error) {
	if c.remaining <= 0 {
		return 0, c.limitErr
	}
	n, err := c.Conn.Read(p[:min(len(p), c.remaining)])
	c.remaining -= n
	c.started = c.started || n > 0
	c.eof = c.eof || errors.Is(err, io.EOF)
	return n, err
}

// roundTrip sends a request and reads the complete response, until ctx ends. reusable tells whether the connection may
// carry another request.
func (c *connection) roundTrip(ctx context.Context, req *http.Request) (resp response, reusable bool, err error) {
	c.started = false
	// A deadline in the past interrupts blocked reads and writes.
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	resp, reusable, err = c.exchange(req)
	if !stop() {
		return resp, false, contextCause(ctx, err)
	}
	return resp, reusable, err
}

func (c *connection) exchange(req *http.Request) (response, bool, error) {
	w := writers.Get().(*bufio.Writer)
	w.Reset(c)
	defer func() { w.Reset(nil); writers.Put(w) }()
	if err := errors.Join(req.Write(w), w.Flush()); err != nil {
		return response{}, false, err
	}
	r := readers.Get().(*bufio.Reader)
	r.Reset(c)
	defer func() { r.Reset(nil); readers.Put(r) }()
	c.remaining, c.limitErr = maxHeader, errHeader
	resp, err := readResponse(r, req)
	switch {
	case err != nil && c.eof: // net/http reports half a line as malformed
		return response{}, false, io.ErrUnexpectedEOF
	case err != nil:
		return response{}, false, err
	}
	c.remaining, c.limitErr = maxWire, errTooLarge
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = errTooLarge
	}
	reusable := err == nil && !resp.Close && r.Buffered() == 0
	return response{resp.StatusCode, resp.Header, body}, reusable, err
}

// readResponse reads the final response and skips interim ones (1xx).
func readResponse(r *bufio.Reader, req *http.Request) (*http.Response, error) {
	for range maxInterim {
		resp, err := http.ReadResponse(r, req)
		if err != nil || resp.StatusCode >= 200 {
			return resp, err
		}
	}
	return nil, errHeader
}
