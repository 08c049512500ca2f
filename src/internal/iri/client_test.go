package iri_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iri"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/iritest"
)

func client(t *testing.T, address string) *iri.Client {
	t.Helper()
	c, err := iri.New(address, iri.Options{})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// answering is a client of a server that handles every request so.
func answering(t *testing.T, handle http.HandlerFunc) *iri.Client {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	return client(t, server.URL)
}

func TestARequestIsWhatIRIWants(t *testing.T) {
	var (
		got  *http.Request
		body string
	)
	c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		got, body = r, string(raw)
		_, _ = io.WriteString(w, `{"balances":["7"],"duration":0}`)
	})
	var answer struct{ Balances []string }
	err := c.Do(t.Context(), "getBalances", map[string]any{"threshold": 100, "command": "not this"}, &answer)
	require.NoError(t, err)
	assert.Equal(t, []string{"7"}, answer.Balances)
	assert.Equal(t, http.MethodPost, got.Method)
	assert.Equal(t, "1", got.Header.Get("X-IOTA-API-Version"))
	assert.Equal(t, "application/json", got.Header.Get("Content-Type"))
	assert.JSONEq(t, `{"command":"getBalances","threshold":100}`, body)
	assert.Positive(t, got.ContentLength, "some proxies in front of nodes refuse chunks")
}

func TestNodeInfoOfANode(t *testing.T) {
	node := iritest.NewServer(iritest.Behind(3), iritest.Reported(250*time.Millisecond))
	defer node.Close()
	info, err := client(t, node.URL).NodeInfo(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "IRI", info.AppName)
	assert.Equal(t, "1.8.6", info.AppVersion)
	assert.EqualValues(t, 1000, *info.LatestMilestone)
	assert.EqualValues(t, 997, *info.SolidMilestone)
	assert.EqualValues(t, 3, *info.Neighbours)
	assert.EqualValues(t, 250, info.Duration)
}

func TestAConnectionIsKept(t *testing.T) {
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(iritest.New())
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	c := client(t, server.URL)
	for range 5 {
		_, err := c.NodeInfo(t.Context())
		require.NoError(t, err)
	}
	_ = c.Do(t.Context(), "addNeighbors", nil, nil)
	assert.EqualValues(t, 1, connections.Load())
}

func TestMisbehavioursAreSortedIntoKinds(t *testing.T) {
	for fault, want := range map[iritest.Fault]iri.Kind{
		iritest.FaultDrop:       iri.KindClosed,
		iritest.FaultTruncate:   iri.KindClosed,
		iritest.FaultSlowBody:   iri.KindTimeout,
		iritest.FaultNotJSON:    iri.KindNotIRI,
		iritest.FaultEmpty:      iri.KindNotIRI,
		iritest.FaultArray:      iri.KindNotIRI,
		iritest.FaultWrongTypes: iri.KindNotIRI,
		iritest.FaultHuge:       iri.KindTooLarge,
		iritest.FaultRedirect:   iri.KindRedirect,
		iritest.FaultGateway:    iri.KindFailed,
		iritest.FaultException:  iri.KindFailed,
	} {
		t.Run(string(fault), func(t *testing.T) {
			node := iritest.NewServer(iritest.Misbehave(fault))
			defer node.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			_, err := client(t, node.URL).NodeInfo(ctx)
			assert.Equal(t, want, iri.KindOf(err), "%v", err)
			assert.ErrorContains(t, err, "getNodeInfo: ")
		})
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	var asked atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Store(true) }))
	defer other.Close()
	for _, status := range []int{301, 302, 307, 308} {
		c := answering(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, status) })
		assert.Equal(t, iri.KindRedirect, iri.KindOf(c.Do(t.Context(), "getNodeInfo", nil, nil)))
	}
	assert.False(t, asked.Load())
}

func TestAtMostOneMebibyteIsRead(t *testing.T) {
	for size, want := range map[int]iri.Kind{1 << 20: iri.KindUnknown, 1<<20 + 1: iri.KindTooLarge} {
		c := answering(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"x":"`+strings.Repeat("9", size-8)+`"}`)
		})
		err := c.Do(t.Context(), "getNodeInfo", nil, nil)
		assert.Equal(t, want, iri.KindOf(err), "%d bytes: %v", size, err)
	}
}

func TestHugeHeadersAreRefused(t *testing.T) {
	c := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Huge", strings.Repeat("x", 1<<20))
	})
	assert.Equal(t, iri.KindNotHTTP, iri.KindOf(c.Do(t.Context(), "getNodeInfo", nil, nil)))
}

func TestBasicAuthComesFromTheAddress(t *testing.T) {
	node := iritest.NewServer(iritest.BasicAuth("us er", "p@ss/word"))
	defer node.Close()
	_, err := client(t, node.URL).NodeInfo(t.Context())
	assert.Equal(t, iri.KindPassword, iri.KindOf(err))

	_, err = client(t, strings.Replace(node.URL, "http://", "http://us%20er:p%40ss%2Fword@", 1)).NodeInfo(t.Context())
	assert.NoError(t, err)
}

// IRI answers 401 for two reasons.
func TestALimitedCommandIsNotAWrongPassword(t *testing.T) {
	for _, version := range []string{"1.8.6", "hornet-0.5.0", "hornet-0.5.10"} {
		node := iritest.NewServer(iritest.Version(version))
		defer node.Close()
		err := client(t, node.URL).Do(t.Context(), "addNeighbors", nil, nil)
		var e *iri.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, iri.KindDenied, e.Kind)
		assert.True(t, e.FromNode)
		assert.NotEmpty(t, e.Text)
	}
}

func TestTLS(t *testing.T) {
	node := iritest.NewTLSServer()
	defer node.Close()

	_, err := client(t, node.URL).NodeInfo(t.Context())
	assert.Equal(t, iri.KindCertificate, iri.KindOf(err))
	assert.EqualError(t, err, "getNodeInfo: the TLS certificate is not trusted: signed by an unknown authority, or by itself")

	lax, err := iri.New(node.URL, iri.Options{SkipVerify: true})
	require.NoError(t, err)
	defer lax.Close()
	_, err = lax.NodeInfo(t.Context())
	assert.NoError(t, err)

	_, err = client(t, strings.Replace(node.URL, "https", "http", 1)).NodeInfo(t.Context())
	assert.Equal(t, iri.KindFailed, iri.KindOf(err), "Go's server answers plain HTTP with a 400")
}

func TestHTTPSToAPortThatSpeaksHTTP(t *testing.T) {
	node := iritest.NewServer()
	defer node.Close()
	_, err := client(t, strings.Replace(node.URL, "http", "https", 1)).NodeInfo(t.Context())
	assert.Equal(t, iri.KindNotTLS, iri.KindOf(err))
}

// say is the address of a server that says this to everyone, and hangs up.
func say(t *testing.T, text string) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, text)
			_, _ = io.ReadAtLeast(conn, make([]byte, 4096), 1)
			_ = conn.Close()
		}
	}()
	return listener.Addr().String()
}

func TestWhatIsNoHTTPServer(t *testing.T) {
	_, err := client(t, "http://"+say(t, "SSH-2.0-OpenSSH_9.2\r\n")).NodeInfo(t.Context())
	assert.Equal(t, iri.KindNotHTTP, iri.KindOf(err), "%v", err)
	_, err = client(t, "https://"+say(t, "SSH-2.0-OpenSSH_9.2\r\n")).NodeInfo(t.Context())
	assert.Equal(t, iri.KindNotTLS, iri.KindOf(err), "%v", err)
	_, err = client(t, "https://"+say(t, "\x15\x03\x01\x00\x02\x02\x28")).NodeInfo(t.Context())
	assert.Equal(t, iri.KindTLS, iri.KindOf(err), "a handshake failure: %v", err)
	_, err = client(t, "http://"+say(t, "")).NodeInfo(t.Context())
	assert.Equal(t, iri.KindClosed, iri.KindOf(err), "%v", err)
}

func TestHostsThatCannotBeAsked(t *testing.T) {
	for _, tt := range []struct {
		name, address string
		want          iri.Kind
	}{
		{"nothing listens", "http://127.0.0.1:1", iri.KindRefused},
		{"nothing listens on IPv6", "http://[::1]:1", iri.KindRefused},
		{"no such name", "http://node.invalid:1", iri.KindName},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := client(t, tt.address).NodeInfo(t.Context())
			assert.Equal(t, tt.want, iri.KindOf(err), "%v", err)
		})
	}
}

func TestAHostThatDoesNotAnswerTimesOut(t *testing.T) {
	node := iritest.NewServer(iritest.Delay(time.Minute))
	defer node.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := client(t, node.URL).NodeInfo(ctx)
	assert.Equal(t, iri.KindTimeout, iri.KindOf(err))
	require.ErrorIs(t, err, context.DeadlineExceeded)

	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err = client(t, node.URL).NodeInfo(ctx)
	assert.Equal(t, iri.KindCanceled, iri.KindOf(err))
}

// The proxy of the environment would answer for the node.
func TestProxyVariablesAreNotUsed(t *testing.T) {
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	node := iritest.NewServer()
	defer node.Close()
	_, err := client(t, node.URL).NodeInfo(t.Context())
	assert.NoError(t, err)
}
