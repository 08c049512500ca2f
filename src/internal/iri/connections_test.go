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

const fine = "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n" + `{"appName":"IRI"}`

// talker is a server whose connections are served by a function, which gets the
// number of the connection and is called for each request. It sends what that
// returns, and closes when the text ends with the sign of it.
const thenClose = "\x00"

type talker struct {
	address     string
	connections atomic.Int32
}

func talk(t *testing.T, say func(connection, request int) string) *talker {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	server := &talker{address: "http://" + listener.Addr().String()}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go server.serve(conn, int(server.connections.Add(1)), say)
		}
	}()
	return server
}

func (s *talker) serve(conn net.Conn, number int, say func(int, int) string) {
	defer func() { _ = conn.Close() }()
	reader := bufio.NewReader(conn)
	for request := 1; ; request++ {
		req, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		_, _ = reader.Discard(int(req.ContentLength))
		text, closes := strings.CutSuffix(say(number, request), thenClose)
		_, _ = fmt.Fprint(conn, text)
		if closes {
			return
		}
	}
}

func (s *talker) client(t *testing.T) *Client {
	t.Helper()
	c, err := New(s.address, Options{})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func TestAConnectionIsUsedAgainOnlyWhenItIsAsItWasLeft(t *testing.T) {
	for _, tt := range []struct {
		name, first string
		connections int32
	}{
		{"a whole answer", fine, 1},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n" + `{"appName":"IRI"}` + "\r\n0\r\n\r\n", 1},
		{"interim answers before it", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + fine, 1},
		{"an error", "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}", 1},
		{"closed after the answer", fine + thenClose, 2},
		{"closed after the answer, and said so", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 17\r\n\r\n" + `{"appName":"IRI"}` + thenClose, 2},
		{"ended by closing", "HTTP/1.0 200 OK\r\n\r\n" + `{"appName":"IRI"}` + thenClose, 2},
		{"something after the answer that nobody asked for", fine + "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", 2},
		{"more than announced", fine + "xx", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := talk(t, func(connection, request int) string {
				if connection == 1 && request == 1 {
					return tt.first
				}
				return fine
			})
			c := server.client(t)
			_ = c.Do(t.Context(), "getNodeInfo", nil, nil)
			time.Sleep(20 * time.Millisecond) // what comes late has come then
			info, err := c.NodeInfo(t.Context())
			require.NoError(t, err)
			assert.Equal(t, "IRI", info.AppName)
			assert.Equal(t, tt.connections, server.connections.Load())
		})
	}
}

func TestAConnectionThatIsClosedAsItIsUsedIsNoFault(t *testing.T) {
	server := talk(t, func(connection, request int) string {
		if connection == 1 && request == 2 {
			return thenClose // it has read the request already
		}
		return fine
	})
	c := server.client(t)
	for range 3 {
		_, err := c.NodeInfo(t.Context())
		require.NoError(t, err)
	}
	assert.EqualValues(t, 2, server.connections.Load())
}

func TestANewConnectionThatIsClosedIsAFault(t *testing.T) {
	server := talk(t, func(int, int) string { return thenClose })
	_, err := server.client(t).NodeInfo(t.Context())
	assert.Equal(t, KindClosed, KindOf(err), "%v", err)
	assert.EqualValues(t, 1, server.connections.Load())
}

func TestAnAnswerThatBeganIsNotAskedForAgain(t *testing.T) {
	server := talk(t, func(_, request int) string {
		if request == 2 {
			return "HTTP/1.1 200 OK\r\nContent-Le" + thenClose
		}
		return fine
	})
	c := server.client(t)
	_, err := c.NodeInfo(t.Context())
	require.NoError(t, err)
	_, err = c.NodeInfo(t.Context())
	assert.Equal(t, KindClosed, KindOf(err), "%v", err)
	assert.EqualValues(t, 1, server.connections.Load())
}

func TestWhatIsReadIsBoundedOnTheWireToo(t *testing.T) {
	for name, tt := range map[string]struct {
		answer string
		want   Kind
	}{
		"a header without end":     {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxHeader), KindNotHTTP},
		"many interim answers":     {strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", maxInterim) + fine, KindNotHTTP},
		"chunks of one byte":       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\n9\r\n", maxWire/6+2000), KindTooLarge},
		"an answer without end":    {"HTTP/1.0 200 OK\r\n\r\n" + strings.Repeat("9", maxAnswer+1), KindTooLarge},
		"a length larger than any": {"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", KindNotHTTP},
	} {
		t.Run(name, func(t *testing.T) {
			server := talk(t, func(int, int) string { return tt.answer })
			_, err := server.client(t).NodeInfo(t.Context())
			assert.Equal(t, tt.want, KindOf(err), "%v", err)
		})
	}
}

func TestATimeoutLeavesNoConnectionBehind(t *testing.T) {
	late := make(chan struct{})
	t.Cleanup(func() { close(late) })
	server := talk(t, func(connection, _ int) string {
		if connection == 1 {
			<-late
		}
		return fine
	})
	c := server.client(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.NodeInfo(ctx)
	assert.Equal(t, KindTimeout, KindOf(err))
	assert.Empty(t, c.transport.connections.idle, "its answer would be taken for the next one's")
	_, err = c.NodeInfo(t.Context())
	assert.NoError(t, err)
}

func TestRequestsAtTheSameTimeHaveConnectionsOfTheirOwn(t *testing.T) {
	server := talk(t, func(int, int) string {
		time.Sleep(20 * time.Millisecond)
		return fine
	})
	c := server.client(t)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			_, err := c.NodeInfo(t.Context())
			assert.NoError(t, err)
		})
	}
	group.Wait()
	assert.EqualValues(t, 8, server.connections.Load())
	assert.Len(t, c.transport.connections.idle, 1, "one is kept for each node")
}

func TestConnectionsOfNodesThatAreAskedNoMoreAreGivenUp(t *testing.T) {
	gone, stays := talk(t, func(int, int) string { return fine }), talk(t, func(int, int) string { return fine })
	transport := NewTransport(Options{})
	for _, server := range []*talker{gone, stays} {
		c, err := transport.Client(server.address)
		require.NoError(t, err)
		_, err = c.NodeInfo(t.Context())
		require.NoError(t, err)
	}
	conns := &transport.connections
	assert.Len(t, conns.idle, 2)
	for _, conn := range conns.idle { // as if time had passed
		conn.since = conn.since.Add(-idleTimeout)
	}
	conns.swept = conns.swept.Add(-idleTimeout)
	c, err := transport.Client(stays.address)
	require.NoError(t, err)
	_, err = c.NodeInfo(t.Context())
	require.NoError(t, err)
	assert.Len(t, conns.idle, 1)
	assert.EqualValues(t, 2, stays.connections.Load(), "what was idle for too long is not used")
	transport.Close()
	assert.Empty(t, conns.idle)
}

func TestTheNameInTheCertificateIsTheHostUnlessAnotherIsGiven(t *testing.T) {
	var asked atomic.Value
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Second}
	defer func() { _ = server.Close() }()
	go func() {
		_ = server.Serve(tls.NewListener(listener, &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			asked.Store(hello.ServerName)
			return nil, context.Canceled
		}}))
	}()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	for _, tt := range []struct{ host, option, want string }{
		{"localhost", "", "localhost"},
		{"localhost", "node7.example.org", "node7.example.org"},
		{"127.0.0.1", "", ""}, // SNI has no numbers
		{"127.0.0.1", "node7.example.org", "node7.example.org"},
	} {
		c, err := New("https://"+net.JoinHostPort(tt.host, port), Options{ServerName: tt.option})
		require.NoError(t, err)
		_ = c.Do(t.Context(), "getNodeInfo", nil, nil)
		assert.Equal(t, tt.want, asked.Load(), tt)
	}
}
