//go:build integration

package frontend

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// TestMarksAreSharedByPeers: a source that one load balancer has marked is refused by the other one too.
func TestMarksAreSharedByPeers(t *testing.T) {
	balancers := harness.PrepareHAProxies(t, []string{"127.0.0.1", "127.0.0.2"},
		withVars(harness.Vars{"haproxy_source_max_requests": 2, "haproxy_abuser_time": "1m"})...)
	for _, h := range balancers {
		h.Start(t)
	}
	require.NoError(t, requestFrom(balancers[1], "127.0.0.50"), "once is within its budget")
	getMarked(t, balancers[0], "127.0.0.50")
	awaitMark(t, balancers[1], "127.0.0.50")
	assert.Error(t, requestFrom(balancers[1], "127.0.0.50"))
	assert.NoError(t, requestFrom(balancers[1], "127.0.0.51"), "another source is listened to")
}

// TestMarksOutliveAReload: with one load balancer the process that a reload replaces teaches the new one.
func TestMarksOutliveAReload(t *testing.T) {
	h := startHAProxy(t, harness.Vars{"haproxy_source_max_requests": 2, "haproxy_abuser_time": "1m"})
	getMarked(t, h, "127.0.0.50")
	old := h.WorkerPID(t)
	harness.Eventually(t, 10*time.Second, "the master takes the reload", func() error { _, err := harness.AskSocket(h.MasterSocket(), "reload"); return err })
	harness.Eventually(t, 10*time.Second, "a new worker", func() error {
		if h.WorkerPID(t) == old {
			return fmt.Errorf("it is still %d", old)
		}
		return nil
	})
	awaitMark(t, h, "127.0.0.50")
	assert.Error(t, requestFrom(h, "127.0.0.50"))
	assert.NoError(t, requestFrom(h, "127.0.0.51"), "another source is listened to")
}

// TestPeersDemandACertificate: who has none gets no word, neither in clear nor over TLS.
func TestPeersDemandACertificate(t *testing.T) {
	balancers := harness.PrepareHAProxies(t, []string{"127.0.0.1", "127.0.0.2"}, withVars(nil)...)
	for _, h := range balancers {
		h.Start(t)
	}
	address := peersAddress(t, balancers[0])
	own, err := tls.LoadX509KeyPair(balancers[0].Dir+"/etc/ssl/peers.pem", balancers[0].Dir+"/etc/ssl/peers.pem")
	require.NoError(t, err)
	plain, err := net.Dial("tcp", address)
	require.NoError(t, err)
	assert.NotContains(t, hello(t, plain), "200", "in clear")
	for name, certificates := range map[string][]tls.Certificate{"without a certificate": nil, "with one": {own}} {
		conn, err := net.Dial("tcp", address)
		require.NoError(t, err)
		answer := hello(t, tls.Client(conn, &tls.Config{InsecureSkipVerify: true, Certificates: certificates}))
		assert.Equal(t, certificates != nil, strings.HasPrefix(answer, "200"), "%s: %q", name, answer)
	}
}

// peersAddress is where a HAProxy listens for its peers.
func peersAddress(t *testing.T, h *harness.HAProxy) string {
	t.Helper()
	text, err := os.ReadFile(h.ConfigFile())
	require.NoError(t, err)
	found := regexp.MustCompile(`(?s)\npeers .*?\n    bind (\S+)`).FindSubmatch(text)
	require.NotNil(t, found)
	return string(found[1])
}

// hello says what the second load balancer says to the first one, and returns the answer.
func hello(t *testing.T, conn net.Conn) string {
	t.Helper()
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(3*time.Second)))
	if _, err := fmt.Fprint(conn, "HAProxyS 2.1\nlb1\nlb2 1 0\n"); err != nil {
		return ""
	}
	answer := make([]byte, 16)
	n, _ := conn.Read(answer)
	return string(answer[:n])
}

// requestFrom sends one request from a source address, on a connection of its own.
func requestFrom(h *harness.HAProxy, source string) error {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: 2 * time.Second}
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, addr)
		},
	}}
	resp, err := client.Post(h.URL, "application/json", strings.NewReader(`{"command":"getNodeInfo"}`))
	if err == nil {
		_ = resp.Body.Close()
	}
	return err
}

// getMarked makes a source exceed its budget until it is not answered any more.
func getMarked(t *testing.T, h *harness.HAProxy, source string) {
	t.Helper()
	harness.Eventually(t, 10*time.Second, source+" is marked", func() error {
		if requestFrom(h, source) == nil {
			return fmt.Errorf("it is answered")
		}
		return nil
	})
}

// awaitMark sends no request, because that could mark the source anew.
func awaitMark(t *testing.T, h *harness.HAProxy, source string) {
	t.Helper()
	harness.Eventually(t, 20*time.Second, "the mark is there", func() error {
		table, err := h.Command("show table iri_abusers")
		if err == nil && !strings.Contains(table, source) {
			err = fmt.Errorf("%s", table)
		}
		return err
	})
}
