//go:build integration

package frontend

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// hashOf is the hash that an operator writes into haproxy_users.
func hashOf(t *testing.T, password string) string {
	t.Helper()
	out, err := exec.Command("openssl", "passwd", "-5", password).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

func basic(user, password string) http.Header {
	return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}}
}

func TestUsersAndPasswords(t *testing.T) {
	p := startPools(t, harness.Vars{
		"haproxy_remote_auth": true, "haproxy_users": map[string]string{"alice": hashOf(t, "pass'word"), "bob": hashOf(t, "other")},
	})
	unknown := verdict{status: 401, error: `^User and password are needed$`}
	for name, header := range map[string]http.Header{
		"none": nil, "a wrong password": basic("alice", "other"), "no such user": basic("carol", "other"), "an empty password": basic("alice", ""),
		"not base64": {"Authorization": {"Basic §§§"}}, "another scheme": {"Authorization": {"Bearer abc"}}, "no colon": {"Authorization": {"Basic YWxpY2U="}},
	} {
		t.Run(name, func(t *testing.T) {
			p.judge(t, tableRow{want: unknown}, p.send(t, request{header: header, body: info}))
		})
	}
	t.Run("the right one", func(t *testing.T) {
		got := p.send(t, request{header: basic("alice", "pass'word"), body: info})
		assert.Equal(t, toDefault, got.header.Get("X-Fake-Node"))
		arrived := p.nodes[0].take(t)
		require.Len(t, arrived, 1)
		assert.Empty(t, arrived[0].header.Values("Authorization"), "the password is not for the node")
	})
	t.Run("a denied command all the same", func(t *testing.T) {
		p.judge(t, tableRow{want: denied("getNeighbors")}, p.send(t, request{header: basic("bob", "other"), body: `{"command":"getNeighbors"}`}))
	})
	t.Run("a preflight", func(t *testing.T) {
		got := p.send(t, request{method: http.MethodOptions, plain: true})
		p.judge(t, tableRow{want: preflight}, got)
		assert.Contains(t, got.header.Get("Access-Control-Allow-Headers"), "Authorization")
	})
	assert.NotContains(t, p.Container.Logs(t), "pass'word")
}

// A reload reads the whitelist's file again.
func TestWhitelistFile(t *testing.T) {
	p := startPools(t, harness.Vars{"haproxy_use_whitelist_file": true, "haproxy_whitelist": []string{"127.0.0.41"}, "haproxy_source_max_requests": 3})
	neighbours := `{"command":"getNeighbors"}`
	p.requireServed(t, "127.0.0.41", neighbours, toDefault)
	p.nodes[0].take(t)
	p.judge(t, tableRow{want: denied("getNeighbors")}, p.from(t, "127.0.0.42", neighbours))
	require.NoError(t, os.WriteFile(p.Whitelist(), []byte("# mine\n127.0.0.42\n2001:db8::/32\n"), 0o600))
	// A master that is still starting misses a signal, but not a command.
	harness.Eventually(t, 10*time.Second, "the master takes the reload", func() error { _, err := harness.AskSocket(p.MasterSocket(), "reload"); return err })
	// Sending requests would use up the budget, and a marked source gets no answer.
	harness.Eventually(t, 10*time.Second, "the new worker knows it", func() error {
		entries, err := p.Command("show acl " + p.Whitelist())
		if err == nil && !strings.Contains(entries, "127.0.0.42") {
			err = errors.New(entries)
		}
		return err
	})
	for _, command := range []string{"addr " + strings.ReplaceAll(p.nodes[0].addr, ":", " port "), "state ready"} {
		_, err := p.Command("set server iri_back/http1 " + command)
		require.NoError(t, err)
	}
	p.requireServed(t, "127.0.0.42", neighbours, toDefault)
	for range 10 {
		p.requireServed(t, "127.0.0.42", info, toDefault)
	}
}

func TestAnswerHeaders(t *testing.T) {
	p := startPools(t, harness.Vars{"haproxy_https": true, "haproxy_https_response_headers": map[string]string{
		"Strict-Transport-Security": "max-age=77", "X-Frame-Options": "DENY", "X-Percent": "100% 'quoted'",
	}})
	for _, r := range []request{{body: info}, {body: "{}"}, {method: http.MethodOptions}} {
		got := p.send(t, r)
		assert.Equal(t, "max-age=77", got.header.Get("Strict-Transport-Security"))
		assert.Equal(t, "DENY", got.header.Get("X-Frame-Options"))
		assert.Equal(t, "100% 'quoted'", got.header.Get("X-Percent"))
		assert.Equal(t, []string{"*"}, got.header.Values("Access-Control-Allow-Origin"))
	}
	got := p.send(t, request{method: http.MethodOptions, plain: true, header: http.Header{"Origin": {"https://wallet.example"}}})
	assert.Equal(t, "POST, OPTIONS", got.header.Get("Access-Control-Allow-Methods"))
	assert.Contains(t, got.header.Get("Access-Control-Allow-Headers"), "X-IOTA-API-Version")
	p.nodes[0].take(t)

	got = p.send(t, request{body: info, header: http.Header{"Accept-Encoding": {"gzip"}, "X-Forwarded-For": {"192.0.2.1"}}})
	assert.Equal(t, "gzip", got.header.Get("Content-Encoding"))
	arrived := p.nodes[0].take(t)
	require.Len(t, arrived, 1)
	assert.Equal(t, []string{"127.0.0.1"}, arrived[0].header.Values("X-Forwarded-For"), "what the client claims is not passed on")
}

// logged sends each request from a source of its own, and returns its line in the log. HAProxy drops a line now and then
// (DroppedLogs in "show info"): a request without a line is sent again.
func (p *pools) logged(t *testing.T, requests ...request) []map[string]any {
	t.Helper()
	lines := make([]map[string]any, len(requests))
	for i, r := range requests {
		var sent time.Time
		harness.Eventually(t, 10*time.Second, "a line about "+r.source, func() error {
			if time.Since(sent) > time.Second {
				p.send(t, r)
				sent = time.Now()
			}
			log := p.Container.Logs(t)
			for line := range strings.Lines(log) {
				_, text, ok := strings.Cut(strings.TrimSpace(line), "<6>")
				var entry map[string]any
				if ok && json.Unmarshal([]byte(text), &entry) == nil && entry["client"] == r.source {
					lines[i] = entry
					return nil
				}
			}
			return errors.New(log)
		})
	}
	return lines
}

func TestAccessLog(t *testing.T) {
	p := startPools(t, harness.Vars{"haproxy_whitelist": []string{}})
	lines := p.logged(t,
		request{source: "127.0.0.51", body: `{"command":"getTips\u0022,\u005c","seed":"SECRET9SEED"}`, header: basic("alice", "SECRET")},
		request{source: "127.0.0.52", body: `{"command":"getNeighbors","seed":"SECRET9SEED"}`},
		request{source: "127.0.0.53", body: "SECRET9SEED"},
		request{source: "127.0.0.57", body: `{"command":"` + strings.Repeat("x", 2000) + `"}`})
	served, refused, unreadable, long := lines[0], lines[1], lines[2], lines[3]
	assert.Equal(t, []any{`getTips",\`, "iri_back", "http1", p.nodes[0].addr, 200.0, "--"},
		[]any{served["command"], served["pool"], served["slot"], served["node"], served["status"], served["end"]})
	for _, name := range []string{"wait_ms", "connect_ms", "answer_ms", "total_ms", "bytes_in", "bytes_out"} {
		assert.IsType(t, 0.0, served[name], name)
	}
	assert.Equal(t, []any{"getNeighbors", 403.0, "PR"}, []any{refused["command"], refused["status"], refused["end"]})
	assert.Equal(t, 400.0, unreadable["status"])
	assert.Equal(t, []any{unreadable["command"], 400.0}, []any{long["command"], long["status"]})
	assert.NotContains(t, p.Container.Logs(t), "SECRET")
}

func TestAccessLogOfFailuresOnly(t *testing.T) {
	p := startPools(t, harness.Vars{"haproxy_access_log": false})
	p.send(t, request{source: "127.0.0.54", body: info})
	p.logged(t, request{source: "127.0.0.55", body: `{"command":"getNeighbors"}`})
	_, err := p.Command("set server iri_back/http1 state maint")
	require.NoError(t, err)
	p.logged(t, request{source: "127.0.0.56", body: info})
	assert.NotContains(t, p.Container.Logs(t), "127.0.0.54")
}

func TestStatistics(t *testing.T) {
	get := func(t *testing.T, scheme string, h *harness.HAProxy, path, user, password string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, scheme+"://"+harness.Local(h.StatsPort)+path, nil)
		require.NoError(t, err)
		if user != "" {
			req.SetBasicAuth(user, password)
		}
		// #nosec: the certificate is self-signed
		client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
		resp, err := client.Do(req)
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(bufio.NewReader(resp.Body))
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
	open := startHAProxy(t, nil)
	status, body := get(t, "http", open, "/", "", "")
	assert.Equal(t, 200, status)
	assert.Contains(t, body, harness.PoWBackend)
	status, body = get(t, "http", open, "/metrics", "", "")
	assert.Equal(t, 200, status)
	assert.Contains(t, body, `haproxy_backend_status{proxy="iri_back"`)

	closed := startHAProxy(t, harness.Vars{"haproxy_stats_https": true, "haproxy_stats_users": map[string]string{"admin": hashOf(t, "secret")}})
	for _, path := range []string{"/", "/metrics"} {
		status, _ = get(t, "https", closed, path, "", "")
		assert.Equal(t, 401, status)
		status, _ = get(t, "https", closed, path, "admin", "wrong")
		assert.Equal(t, 401, status)
		status, _ = get(t, "https", closed, path, "admin", "secret")
		assert.Equal(t, 200, status)
	}
}
