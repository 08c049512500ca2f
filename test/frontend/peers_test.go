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
	asks := func(f *harness.HAProxy, source string) error {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: 2 * time.Second}
		client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
			DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return dialer.DialContext(ctx, network, addr)
			},
		}}
		resp, err := client.Post(f.URL, "application/json", strings.NewReader(`{"command":"getNodeInfo"}`))
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}
	require.NoError(t, asks(balancers[1], "127.0.0.50"), "once is within its budget")
	harness.Eventually(t, 10*time.Second, "the source is marked at the first load balancer", func() error {
		if asks(balancers[0], "127.0.0.50") == nil {
			return fmt.Errorf("it is answered")
		}
		return nil
	})
	harness.Eventually(t, 20*time.Second, "the mark is at the second", func() error {
		table, err := balancers[1].Command("show table iri_abusers")
		if err == nil && !strings.Contains(table, "127.0.0.50") {
			err = fmt.Errorf("%s", table)
		}
		return err
	})
	assert.Error(t, asks(balancers[1], "127.0.0.50"))
	assert.NoError(t, asks(balancers[1], "127.0.0.51"), "another source is listened to")
}
