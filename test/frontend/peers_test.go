//go:build integration

package frontend

import (
	"context"
	"fmt"
	"net"
	"net/http"
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
	require.NotEqual(t, old, h.WorkerPID(t))
	awaitMark(t, h, "127.0.0.50")
	assert.Error(t, requestFrom(h, "127.0.0.50"))
	assert.NoError(t, requestFrom(h, "127.0.0.51"), "another source is listened to")
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
