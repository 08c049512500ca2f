package iri

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// success is the response of a healthy node.
const success = "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n" + `{"appName":"IRI"}`

// thenClose at the end of a scripted response closes the connection.
const thenClose = "\x00"

// scripted is a server that sends raw responses.
type scripted struct {
	address     string
	connections atomic.Int32
}

// script starts a server that calls respond for each request, with the numbers of the connection and of the request
// on it, from 1 on, and sends the result.
func script(t *testing.T, respond func(connection, request int) string) *scripted {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	server := &scripted{address: "http://" + listener.Addr().String()}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go server.serve(conn, int(server.connections.Add(1)), respond)
		}
	}()
	return server
}

func (s *scripted) serve(conn net.Conn, number int, respond func(int, int) string) {
	defer func() { _ = conn.Close() }()
	reader := bufio.NewReader(conn)
	for request := 1; ; request++ {
		req, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		_, _ = reader.Discard(int(req.ContentLength))
		text, closes := strings.CutSuffix(respond(number, request), thenClose)
		_, _ = fmt.Fprint(conn, text)
		if closes {
			return
		}
	}
}

func (s *scripted) client(t *testing.T) *Client {
	t.Helper()
	c, err := New(s.address, Options{})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func TestConnectionsAreReusedOnlyWhenTheyAreClean(t *testing.T) {
	for _, tt := range []struct {
		name, first string
		connections int32
	}{
		{"complete response", success, 1},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n" + `{"appName":"IRI"}` + "\r\n0\r\n\r\n", 1},
		{"preceded by interim responses", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + success, 1},
		{"error status", "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}", 1},
		{"closed after the response", success + thenClose, 2},
		{"closed after the response, as announced", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 17\r\n\r\n" + `{"appName":"IRI"}` + thenClose, 2},
		{"length given by closing", "HTTP/1.0 200 OK\r\n\r\n" + `{"appName":"IRI"}` + thenClose, 2},
		{"followed by an unrequested response", success + "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", 2},
		{"longer than announced", success + "xx", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := script(t, func(connection, request int) string {
				if connection == 1 && request == 1 {
					return tt.first
				}
				return success
			})
			c := server.client(t)
			_ = c.Do(t.Context(), "getNodeInfo", nil, nil)
			if tt.connections > 1 { // what follows the response may arrive a moment later
				require.Eventually(t, func() bool { return !c.transport.connections.idleIsQuiet() }, 5*time.Second, time.Millisecond)
			}
			info, err := c.NodeInfo(t.Context())
			require.NoError(t, err)
			assert.Equal(t, "IRI", info.AppName)
			assert.Equal(t, tt.connections, server.connections.Load())
		})
	}
}

func TestAClosedIdleConnectionIsReplaced(t *testing.T) {
	server := script(t, func(connection, request int) string {
		if connection == 1 && request == 2 {
			return thenClose // the request has been read by then
		}
		return success
	})
	c := server.client(t)
	for range 3 {
		_, err := c.NodeInfo(t.Context())
		require.NoError(t, err)
	}
	assert.EqualValues(t, 2, server.connections.Load())
}

func TestAClosedNewConnectionIsAnError(t *testing.T) {
	server := script(t, func(int, int) string { return thenClose })
	_, err := server.client(t).NodeInfo(t.Context())
	assert.Equal(t, KindClosed, KindOf(err), "%v", err)
	assert.EqualValues(t, 1, server.connections.Load())
}

func TestARequestIsNotRepeatedOnceTheResponseHasStarted(t *testing.T) {
	server := script(t, func(_, request int) string {
		if request == 2 {
			return "HTTP/1.1 200 OK\r\nContent-Le" + thenClose
		}
		return success
	})
	c := server.client(t)
	_, err := c.NodeInfo(t.Context())
	require.NoError(t, err)
	_, err = c.NodeInfo(t.Context())
	assert.Equal(t, KindClosed, KindOf(err), "%v", err)
	assert.EqualValues(t, 1, server.connections.Load())
}

func TestResponsesAreBoundedOnTheWire(t *testing.T) {
	for name, tt := range map[string]struct {
		response string
		want     Kind
	}{
		"endless header":         {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxHeader), KindNotHTTP},
		"many interim responses": {strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", maxInterim) + success, KindNotHTTP},
		"one-byte chunks":        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\n9\r\n", maxWire/6+2000), KindTooLarge},
		"endless body":           {"HTTP/1.0 200 OK\r\n\r\n" + strings.Repeat("9", maxBody+1), KindTooLarge},
		"overflowing length":     {"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", KindNotHTTP},
	} {
		t.Run(name, func(t *testing.T) {
			server := script(t, func(int, int) string { return tt.response })
			_, err := server.client(t).NodeInfo(t.Context())
			assert.Equal(t, tt.want, KindOf(err), "%v", err)
		})
	}
}

func TestATimeoutDiscardsTheConnection(t *testing.T) {
	blocked := make(chan struct{})
	t.Cleanup(func() { close(blocked) })
	server := script(t, func(connection, _ int) string {
		if connection == 1 {
			<-blocked
		}
		return success
	})
	c := server.client(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.NodeInfo(ctx)
	assert.Equal(t, KindTimeout, KindOf(err))
	assert.Empty(t, c.transport.connections.idle, "the late response would be taken for that of the next request")
	_, err = c.NodeInfo(t.Context())
	assert.NoError(t, err)
}

func TestConcurrentRequestsUseSeparateConnections(t *testing.T) {
	const requests = 8
	var arrived sync.WaitGroup
	arrived.Add(requests)
	server := script(t, func(int, int) string {
		arrived.Done()
		arrived.Wait() // until all requests are under way
		return success
	})
	c := server.client(t)
	var group sync.WaitGroup
	for range requests {
		group.Go(func() {
			_, err := c.NodeInfo(t.Context())
			assert.NoError(t, err)
		})
	}
	group.Wait()
	assert.EqualValues(t, requests, server.connections.Load())
	assert.Len(t, c.transport.connections.idle, 1, "one idle connection per node")
}

func TestConnectionsIdleForTooLongAreClosed(t *testing.T) {
	removed, checked := script(t, func(int, int) string { return success }), script(t, func(int, int) string { return success })
	transport := NewTransport(Options{})
	for _, server := range []*scripted{removed, checked} {
		c, err := transport.Client(server.address)
		require.NoError(t, err)
		_, err = c.NodeInfo(t.Context())
		require.NoError(t, err)
	}
	conns := &transport.connections
	assert.Len(t, conns.idle, 2)
	for _, conn := range conns.idle { // as if time had passed
		conn.idleSince = conn.idleSince.Add(-idleTimeout)
	}
	conns.lastSweep = conns.lastSweep.Add(-idleTimeout)
	c, err := transport.Client(checked.address)
	require.NoError(t, err)
	_, err = c.NodeInfo(t.Context())
	require.NoError(t, err)
	assert.Len(t, conns.idle, 1)
	assert.EqualValues(t, 2, checked.connections.Load(), "the idle connection was too old to be used")
	transport.Close()
	assert.Empty(t, conns.idle)
}

func TestServerNameIsTheHostUnlessSet(t *testing.T) {
	var serverName atomic.Value
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Second}
	defer func() { _ = server.Close() }()
	go func() {
		_ = server.Serve(tls.NewListener(listener, &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			serverName.Store(hello.ServerName)
			return nil, context.Canceled
		}}))
	}()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	for _, tt := range []struct{ host, option, want string }{
		{"localhost", "", "localhost"},
		{"localhost", "node7.example.org", "node7.example.org"},
		{"127.0.0.1", "", ""}, // SNI does not carry IP addresses
		{"127.0.0.1", "node7.example.org", "node7.example.org"},
	} {
		c, err := New("https://"+net.JoinHostPort(tt.host, port), Options{ServerName: tt.option})
		require.NoError(t, err)
		_ = c.Do(t.Context(), "getNodeInfo", nil, nil)
		assert.Equal(t, tt.want, serverName.Load(), tt)
	}
}

// idleIsQuiet tells whether an idle connection is kept that the server has neither closed nor written to.
func (c *connections) idleIsQuiet() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.idle {
		return conn.quiet()
	}
	return false
}
