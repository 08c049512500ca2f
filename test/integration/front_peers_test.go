//go:build integration

package integration

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
)

// TestFrontPeers: a source that one load balancer has marked is not listened to
// by the other one either.
func TestFrontPeers(t *testing.T) {
	fronts := prepareFronts(t, []string{"127.0.0.1", "127.0.0.2"}, map[string]any{"haproxy_source_max_requests": 2, "haproxy_abuser_time": "1m"})
	for _, f := range fronts {
		f.run(t)
	}
	asks := func(f *front, source string) error {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: 2 * time.Second}
		client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
			DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return dialer.DialContext(ctx, network, addr)
			},
		}}
		resp, err := client.Post(f.url, "application/json", strings.NewReader(`{"command":"getNodeInfo"}`))
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}
	require.NoError(t, asks(fronts[1], "127.0.0.50"), "once is within its budget")
	eventually(t, 10*time.Second, "the source is marked at the first load balancer", func() error {
		if asks(fronts[0], "127.0.0.50") == nil {
			return fmt.Errorf("it is answered")
		}
		return nil
	})
	eventually(t, 20*time.Second, "the mark is at the second", func() error {
		table, err := fronts[1].command("show table iri_abusers")
		if err == nil && !strings.Contains(table, "127.0.0.50") {
			err = fmt.Errorf("%s", table)
		}
		return err
	})
	assert.Error(t, asks(fronts[1], "127.0.0.50"))
	assert.NoError(t, asks(fronts[1], "127.0.0.51"), "another source is listened to")
}
