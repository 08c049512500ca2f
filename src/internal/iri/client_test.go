package iri_test

import (
	"context"
	"crypto/tls"
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

// clientOf is a client of a server with this handler.
func clientOf(t *testing.T, handle http.HandlerFunc) *iri.Client {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	return client(t, server.URL)
}

func TestRequestsHaveTheFormThatIRIRequires(t *testing.T) {
	var (
		got  *http.Request
		body string
	)
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		got, body = r, string(raw)
		_, _ = io.WriteString(w, `{"balances":["7"],"duration":0}`)
	})
	var out struct{ Balances []string }
	err := c.Do(t.Context(), "getBalances", map[string]any{"threshold": 100, "command": "not this"}, &out)
	require.NoError(t, err)
	assert.Equal(t, []string{"7"}, out.Balances)
	assert.Equal(t, http.MethodPost, got.Method)
	assert.Equal(t, "1", got.Header.Get("X-IOTA-API-Version"))
	assert.Equal(t, "application/json", got.Header.Get("Content-Type"))
	assert.JSONEq(t, `{"command":"getBalances","threshold":100}`, body)
	assert.Positive(t, got.ContentLength, "some reverse proxies refuse chunked requests")
}

func TestNodeInfoIsDecoded(t *testing.T) {
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

func TestTheConnectionIsKeptBetweenCommands(t *testing.T) {
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

func TestFaultsAreClassified(t *testing.T) {
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

func TestRedirectsAreNotFollowed(t *testing.T) {
	var contacted atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { contacted.Store(true) }))
	defer other.Close()
	for _, status := range []int{301, 302, 307, 308} {
		c := clientOf(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, status) })
		assert.Equal(t, iri.KindRedirect, iri.KindOf(c.Do(t.Context(), "getNodeInfo", nil, nil)))
	}
	assert.False(t, contacted.Load())
}

func TestBodiesAreLimitedToOneMebibyte(t *testing.T) {
	for size, want := range map[int]iri.Kind{1 << 20: iri.KindUnknown, 1<<20 + 1: iri.KindTooLarge} {
		c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"x":"`+strings.Repeat("9", size-8)+`"}`)
		})
		err := c.Do(t.Context(), "getNodeInfo", nil, nil)
		assert.Equal(t, want, iri.KindOf(err), "%d bytes: %v", size, err)
	}
}

func TestHugeHeadersAreRefused(t *testing.T) {
	c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Huge", strings.Repeat("x", 1<<20))
	})
	assert.Equal(t, iri.KindNotHTTP, iri.KindOf(c.Do(t.Context(), "getNodeInfo", nil, nil)))
}

func TestBasicAuthUsesTheCredentialsOfTheAddress(t *testing.T) {
	node := iritest.NewServer(iritest.BasicAuth("us er", "p@ss/word"))
	defer node.Close()
	_, err := client(t, node.URL).NodeInfo(t.Context())
	assert.Equal(t, iri.KindAuth, iri.KindOf(err))

	_, err = client(t, strings.Replace(node.URL, "http://", "http://us%20er:p%40ss%2Fword@", 1)).NodeInfo(t.Context())
	assert.NoError(t, err)
}

// IRI responds with status 401 in both cases.
func TestLimitedCommandsAreNotMistakenForWrongPasswords(t *testing.T) {
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

func TestCertificatesAreVerifiedUnlessSkipVerifyIsSet(t *testing.T) {
	node := iritest.NewTLSServer()
	defer node.Close()

	_, err := client(t, node.URL).NodeInfo(t.Context())
	assert.Equal(t, iri.KindCertificate, iri.KindOf(err))
	assert.EqualError(t, err, "getNodeInfo: the TLS certificate is not trusted: signed by an unknown authority, or self-signed")

	insecure, err := iri.New(node.URL, iri.Options{SkipVerify: true})
	require.NoError(t, err)
	defer insecure.Close()
	_, err = insecure.NodeInfo(t.Context())
	assert.NoError(t, err)

	_, err = client(t, strings.Replace(node.URL, "https", "http", 1)).NodeInfo(t.Context())
	assert.Equal(t, iri.KindFailed, iri.KindOf(err), "the server of net/http responds to plain HTTP with status 400")
}

func TestHTTPSToAPlainHTTPPortIsNotTLS(t *testing.T) {
	node := iritest.NewServer()
	defer node.Close()
	_, err := client(t, strings.Replace(node.URL, "http", "https", 1)).NodeInfo(t.Context())
	assert.Equal(t, iri.KindNotTLS, iri.KindOf(err))
}

// greeter is the address of a server that sends this text on every connection and closes it after the first read.
func greeter(t *testing.T, text string) string {
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

func TestServersOfOtherProtocolsAreRecognised(t *testing.T) {
	_, err := client(t, "http://"+greeter(t, "SSH-2.0-OpenSSH_9.2\r\n")).NodeInfo(t.Context())
	assert.Equal(t, iri.KindNotHTTP, iri.KindOf(err), "%v", err)
	_, err = client(t, "https://"+greeter(t, "SSH-2.0-OpenSSH_9.2\r\n")).NodeInfo(t.Context())
	assert.Equal(t, iri.KindNotTLS, iri.KindOf(err), "%v", err)
	_, err = client(t, "https://"+greeter(t, "\x15\x03\x01\x00\x02\x02\x28")).NodeInfo(t.Context())
	assert.Equal(t, iri.KindTLS, iri.KindOf(err), "a handshake failure: %v", err)
	_, err = client(t, "http://"+greeter(t, "")).NodeInfo(t.Context())
	assert.Equal(t, iri.KindClosed, iri.KindOf(err), "%v", err)
}

func TestUnreachableNodesAreClassified(t *testing.T) {
	for _, tt := range []struct {
		name, address string
		want          iri.Kind
	}{
		{"closed port", "http://127.0.0.1:1", iri.KindRefused},
		{"closed port, IPv6", "http://[::1]:1", iri.KindRefused},
		{"unknown host name", "http://node.invalid:1", iri.KindDNS},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := client(t, tt.address).NodeInfo(t.Context())
			assert.Equal(t, tt.want, iri.KindOf(err), "%v", err)
		})
	}
}

func TestASlowNodeTimesOut(t *testing.T) {
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

// A proxy could respond in place of the node.
func TestProxyVariablesAreIgnored(t *testing.T) {
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	node := iritest.NewServer()
	defer node.Close()
	_, err := client(t, node.URL).NodeInfo(t.Context())
	assert.NoError(t, err)
}

func TestOptionsSupplyCertificatesAndCredentials(t *testing.T) {
	authority, end := iritest.NewAuthority(), time.Now().Add(time.Hour)
	node, err := iritest.NewServerOn("127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{authority.Certificate(end, "node7.example.org")},
		ClientCAs:    authority.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
	}, iritest.BasicAuth("me", "secret"))
	require.NoError(t, err)
	defer node.Close()
	certificate := authority.Certificate(end, "lb.example.org")
	complete := iri.Options{
		Roots: authority.Pool(), ServerName: "node7.example.org", Certificate: &certificate, User: "me", Password: "secret",
	}
	for name, tt := range map[string]struct {
		change func(*iri.Options)
		want   iri.Kind
		reason string
	}{
		"without roots":              {func(o *iri.Options) { o.Roots = nil }, iri.KindCertificate, "signed by an unknown authority"},
		"without the server name":    {func(o *iri.Options) { o.ServerName = "" }, iri.KindCertificate, "it is for another host name"},
		"without client certificate": {func(o *iri.Options) { o.Certificate = nil }, iri.KindTLS, "the TLS handshake failed"},
		"without credentials":        {func(o *iri.Options) { o.User = "" }, iri.KindAuth, "a user name and password are required"},
	} {
		t.Run(name, func(t *testing.T) {
			options := complete
			tt.change(&options)
			c, err := iri.New(node.URL, options)
			require.NoError(t, err)
			defer c.Close()
			_, err = c.NodeInfo(t.Context())
			assert.Equal(t, tt.want, iri.KindOf(err), "%v", err)
			assert.ErrorContains(t, err, tt.reason)
		})
	}
	c, err := iri.New(node.URL, complete)
	require.NoError(t, err)
	defer c.Close()
	_, err = c.NodeInfo(t.Context())
	assert.NoError(t, err)
}

func TestHostPortIsWhatTheClientConnectsTo(t *testing.T) {
	for address, want := range map[string][2]string{
		"http://10.0.0.1:14265":   {"10.0.0.1", "14265"},
		"http://10.0.0.1":         {"10.0.0.1", "80"},
		"https://node.example":    {"node.example", "443"},
		"http://u:p@[::1]:1/path": {"::1", "1"},
	} {
		host, port := client(t, address).HostPort()
		assert.Equal(t, want, [2]string{host, port}, address)
	}
}

func TestParametersThatAreNotJSONAreAnError(t *testing.T) {
	err := client(t, "http://127.0.0.1:1").Do(t.Context(), "getTrytes", map[string]any{"hashes": make(chan int)}, nil)
	assert.Equal(t, iri.KindUnknown, iri.KindOf(err))
	assert.ErrorContains(t, err, "encode the parameters of getTrytes")
	assert.Equal(t, iri.KindUnknown, iri.KindOf(io.EOF), "an error of another package")
}
