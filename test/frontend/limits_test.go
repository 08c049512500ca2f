//go:build integration

package frontend

import (
	"context"
	"errors"
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

const (
	info = `{"command":"getNodeInfo"}`
	work = `{"command":"attachToTangle"}`
)

var (
	tooMany    = verdict{status: 429, error: `^Too many requests$`}
	tooMuchPoW = verdict{status: 429, error: `^Too many requests for proof of work$`}
)

// from sends a request from the given source address.
func (p *pools) from(t *testing.T, source, body string) answer {
	t.Helper()
	return p.send(t, request{source: source, body: body})
}

func (p *pools) requireServed(t *testing.T, source, body, node string) {
	t.Helper()
	got := p.from(t, source, body)
	require.Equal(t, node, got.header.Get("X-Fake-Node"), "%d %s", got.status, got.body)
}

func TestBudgetAndMark(t *testing.T) {
	p := startPools(t, harness.Vars{"haproxy_source_max_requests": 5, "haproxy_abuser_time": "4s", "haproxy_whitelist": []string{trusted}})
	for range 5 {
		p.requireServed(t, "127.0.0.21", info, toDefault)
	}
	for range 10 { // up to three times its budget
		assertRefused(t, tooMany, p.from(t, "127.0.0.21", info))
	}
	p.requireServed(t, "127.0.0.22", info, toDefault)
	assertRefused(t, tooMany, p.from(t, "127.0.0.21", info)) // this one marks it
	_, err := viaNetHTTP(p.HAProxy, request{source: "127.0.0.21", body: info})
	require.Error(t, err, "a marked source is not listened to")
	table, err := p.Command("show table iri_abusers")
	require.NoError(t, err)
	assert.Contains(t, table, "127.0.0.21")
	p.requireServed(t, "127.0.0.22", info, toDefault)

	harness.Eventually(t, 20*time.Second, "the mark ends", func() error {
		table, err := p.Command("show table iri_abusers")
		if err == nil && strings.Contains(table, "127.0.0.21") {
			err = errors.New(table)
		}
		return err
	})
	_, err = viaNetHTTP(p.HAProxy, request{source: "127.0.0.21", body: info})
	require.NoError(t, err, "it gets answers again")
	for range 20 {
		p.requireServed(t, trusted, info, toDefault)
	}
}

// A connection that was open before the mark ends at the next request.
func TestMarkOnOpenConnection(t *testing.T) {
	p := startPools(t, harness.Vars{"haproxy_source_max_requests": 2, "haproxy_abuser_time": "1m", "haproxy_https": true})
	for source, protocol := range map[string]string{"127.0.0.23": "http/1.1", "127.0.0.29": "h2"} {
		c, err := dialTLS(p.HAProxy, source, protocol)
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
		ask := overConnection(t, p.HAProxy, c, protocol)
		for i := range 7 { // the last one marks it
			got, err := ask(info)
			require.NoError(t, err, "%s: request %d", protocol, i)
			if i < 2 {
				assert.Equal(t, toDefault, got.header.Get("X-Fake-Node"))
			} else {
				assertRefused(t, tooMany, got)
			}
		}
		_, err = ask(info)
		require.Error(t, err, protocol)
		harness.Eventually(t, 5*time.Second, "the connection is closed", func() error {
			table, err := p.Command("show table iri_connections")
			if err == nil && strings.Contains(table, "conn_cur=1") {
				err = fmt.Errorf("%s: %s", protocol, table)
			}
			return err
		})
		table, err := p.Command("show table iri_abusers")
		require.NoError(t, err)
		assert.Contains(t, table, source)
	}
}

// overConnection returns a function that sends bodies on this connection only.
func overConnection(t *testing.T, f *harness.HAProxy, c net.Conn, protocol string) func(body string) (answer, error) {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(protocol != "h2")
	protocols.SetHTTP2(protocol == "h2")
	used := false
	client := &http.Client{Transport: &http.Transport{Protocols: protocols, DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
		if used {
			return nil, errors.New("only one connection is allowed")
		}
		used = true
		return c, nil
	}}}
	t.Cleanup(client.CloseIdleConnections)
	return func(body string) (answer, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.URL, strings.NewReader(body))
		if err != nil {
			return answer{}, err
		}
		req.Header.Set("X-IOTA-API-Version", "1")
		resp, err := client.Do(req)
		if err != nil {
			return answer{}, err
		}
		return readAnswer(resp)
	}
}

func TestPoWBudget(t *testing.T) {
	p := startPools(t, harness.Vars{"haproxy_source_max_pow_requests": 2, "haproxy_whitelist": []string{trusted}})
	for range 2 {
		p.requireServed(t, "127.0.0.24", work, toPoW)
	}
	for range 4 {
		assertRefused(t, tooMuchPoW, p.from(t, "127.0.0.24", work))
		p.requireServed(t, "127.0.0.24", info, toDefault)
	}
	p.requireServed(t, "127.0.0.25", work, toPoW)
	assertRefused(t, tooMuchPoW, p.from(t, "127.0.0.24", work)) // three times its budget: marked
	_, err := viaNetHTTP(p.HAProxy, request{source: "127.0.0.24", body: info})
	require.Error(t, err)
	for range 10 {
		p.requireServed(t, trusted, work, toPoW)
	}
}

func TestConnectionsOfOneSource(t *testing.T) {
	p := startPools(t, harness.Vars{"haproxy_source_max_connections": 3})
	for range 3 {
		c, err := dial(p.HAProxy, "127.0.0.26")
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
	}
	harness.Eventually(t, 5*time.Second, "HAProxy has accepted them", func() error {
		table, err := p.Command("show table iri_connections")
		if err == nil && !strings.Contains(table, "conn_cur=3") {
			err = fmt.Errorf("%s", table)
		}
		return err
	})
	_, err := viaNetHTTP(p.HAProxy, request{source: "127.0.0.26", body: info})
	require.Error(t, err, "a fourth connection")
	p.requireServed(t, "127.0.0.27", info, toDefault)
}

// Concurrent requests are limited too: one connection may carry many of them.
func TestRequestsOfOneSourceAtATime(t *testing.T) {
	p := startPools(t, harness.Vars{"haproxy_source_max_connections": 3})
	release := p.nodes[0].hold()
	defer release()
	codes := make(chan int, 8)
	for range 3 {
		go func() {
			got, err := viaNetHTTP(p.HAProxy, request{source: "127.0.0.28", body: info})
			if err != nil {
				got.status = -1
			}
			codes <- got.status
		}()
	}
	harness.Eventually(t, 5*time.Second, "three requests run", func() error {
		if n := p.nodes[0].waiting(); n != 3 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	table, err := p.Command("show table iri_requests")
	require.NoError(t, err)
	assert.Contains(t, table, "conn_cur=3")
	release()
	for range 3 {
		assert.Equal(t, http.StatusOK, <-codes)
	}
}

// Requests beyond a pool's limit are told to come back later; others are served.
func TestFullPools(t *testing.T) {
	p := startPools(t, harness.Vars{"max_connections_pow_backend": 2, "max_connections_backend": 1})
	for _, pool := range []struct {
		node *recorder
		body string
		room int
		want verdict
	}{
		{p.nodes[1], work, 2, verdict{status: 503, error: `^All nodes for proof of work are busy$`}},
		{p.nodes[0], info, 1, verdict{status: 503, error: `^All nodes are busy$`}},
	} {
		release := pool.node.hold()
		answers := make(chan answer, pool.room)
		for i := range pool.room {
			go func() {
				got, _ := viaNetHTTP(p.HAProxy, request{source: fmt.Sprintf("127.0.0.%d", 30+i), body: pool.body})
				answers <- got
			}()
			// One of them may wait in the queue: the node takes one at a time.
			harness.Eventually(t, 5*time.Second, "the request is in the pool", func() error { return p.inPool(pool.node.name, i+1) })
		}
		assertRefused(t, pool.want, p.from(t, "127.0.0.40", pool.body))
		release()
		for range pool.room {
			assert.Equal(t, http.StatusOK, (<-answers).status)
		}
		// The client has its answer a moment before HAProxy has counted the request out.
		harness.Eventually(t, 5*time.Second, "the pool is empty", func() error { return p.inPool(pool.node.name, 0) })
		p.requireServed(t, "127.0.0.40", pool.body, pool.node.name)
	}
}

// inPool checks that the pool has n requests, including those that wait.
func (p *pools) inPool(node string, n int) error {
	backend := map[string]string{toDefault: harness.Backend, toPoW: harness.PoWBackend}[node]
	stat, err := p.Command("show stat " + backend + " 2 -1")
	if err != nil {
		return err
	}
	lines := strings.Split(stat, "\n")
	for i, name := range strings.Split(strings.TrimPrefix(lines[0], "# "), ",") {
		if name == "scur" && strings.Split(lines[1], ",")[i] == fmt.Sprint(n) {
			return nil
		}
	}
	return fmt.Errorf("%s", stat)
}

func TestPoolsWithoutNode(t *testing.T) {
	p := startPools(t, nil)
	for _, backend := range []string{harness.Backend, harness.PoWBackend} {
		_, err := p.Command("set server " + backend + "/http1 state maint")
		require.NoError(t, err)
	}
	noNode := verdict{status: 503, error: `^No node is available$`}
	assertRefused(t, noNode, p.from(t, "", info))
	assertRefused(t, noNode, p.from(t, "", work))
	assertRefused(t, preflight, p.send(t, request{method: http.MethodOptions}))
}
