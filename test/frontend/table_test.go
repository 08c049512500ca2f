//go:build integration

package frontend

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// tableRow is one request and what has to happen to it.
type tableRow struct {
	name string
	request
	want verdict
}

// verdict is the node that must receive the request, or the error that must come back while no node is reached.
type verdict struct {
	node string
	// status and error (a regular expression) are those of HAProxy's own answer.
	status int
	error  string
	// bare: HAProxy refused what it could not read as HTTP, with a page of its own.
	bare bool
}

var (
	atDefault = verdict{node: toDefault}
	atPoW     = verdict{node: toPoW}
	// Either the body can be read in two ways, or it has no command.
	unreadable = verdict{status: 400, error: `^(Invalid JSON syntax|COMMAND parameter has not been specified in the request\.$)`}
	noCommand  = verdict{status: 400, error: `^COMMAND parameter has not been specified in the request\.$`}
	noVersion  = verdict{status: 400, error: `^Invalid API Version$`}
	notPost    = verdict{status: 405, error: `^Only POST is allowed$`}
	tooLong    = verdict{status: 413, error: `^Request too long$`}
	preflight  = verdict{status: 200}
)

func denied(command string) verdict {
	return verdict{status: 403, error: `^COMMAND ` + regexp.QuoteMeta(command) + ` is not available on this node$`}
}

// trusted is a source on the whitelist.
const trusted = "127.0.0.9"

// roomy are variables with limits that no row reaches.
func roomy(more harness.Vars) harness.Vars {
	vars := harness.Vars{
		"haproxy_source_max_requests": 1_000_000, "haproxy_source_max_pow_requests": 1_000_000, "haproxy_whitelist": []string{trusted},
		"haproxy_bad_command": `xyzzy|"broadcastTransactions"`,
	}
	for name, value := range more {
		vars[name] = value
	}
	return vars
}

// rowsWanted is the least number of rows for each client.
const rowsWanted = 150

// TestRequestTable sends every row by hand-written HTTP/1.1, by a library's HTTP/1.1, and by HTTP/2 over TLS.
func TestRequestTable(t *testing.T) {
	rows := append(bodyRows(), headerRows()...)
	names := map[string]bool{}
	for _, r := range rows {
		require.False(t, names[r.name], "two rows are called %q", r.name)
		names[r.name] = true
	}
	require.GreaterOrEqual(t, len(rows), rowsWanted)

	clear := startPools(t, roomy(nil))
	secure := startPools(t, roomy(harness.Vars{"haproxy_https": true}))
	for _, way := range []struct {
		name  string
		to    *pools
		send  client
		proto int
	}{
		{"HTTP 1.1 by hand", clear, viaRaw, 1},
		{"HTTP 1.1", clear, viaNetHTTP, 1},
		{"HTTP 2 over TLS", secure, viaNetHTTP, 2},
	} {
		start, ran := time.Now(), 0
		for _, r := range rows {
			t.Run(way.name+"/"+r.name, func(t *testing.T) {
				got, err := way.send(way.to.HAProxy, r.request)
				require.NoError(t, err)
				assert.Equal(t, way.proto, got.proto, "the version of HTTP")
				way.to.judge(t, r, got)
			})
			ran++
		}
		t.Logf("%s: %d rows in %.1f s", way.name, ran, time.Since(start).Seconds())
		assert.GreaterOrEqual(t, ran, rowsWanted)
	}
}

// judge compares the answer, and what the nodes received, with the row's verdict.
func (p *pools) judge(t *testing.T, r tableRow, got answer) {
	t.Helper()
	p.judgeArrivals(t, r)
	if r.want.node != "" {
		assert.Equal(t, r.want.node, got.header.Get("X-Fake-Node"), "the node that answered, with status %d: %.300s", got.status, got.body)
		return
	}
	assertRefused(t, r.want, got)
}

// judgeArrivals requires the request at its node once and unchanged, or at no node.
func (p *pools) judgeArrivals(t *testing.T, r tableRow) {
	t.Helper()
	for _, node := range p.nodes {
		arrived := node.take(t)
		if node.name != r.want.node {
			assert.Empty(t, len(arrived), "requests that reached node %s", node.name)
			continue
		}
		if assert.Len(t, arrived, 1, "requests that reached node %s", node.name) {
			assert.Equal(t, http.MethodPost, arrived[0].method)
			assert.Equal(t, "/", arrived[0].uri)
			if r.body != string(arrived[0].body) {
				t.Errorf("the node got another body: %.300q", arrived[0].body)
			}
		}
	}
}

// assertRefused requires an answer of HAProxy itself, in IRI's format.
func assertRefused(t *testing.T, want verdict, got answer) {
	t.Helper()
	assert.Empty(t, got.header.Get("X-Fake-Node"))
	if want.bare {
		require.GreaterOrEqual(t, got.status, 400, "%.300s", got.body)
		return
	}
	require.Equal(t, want.status, got.status, "%.300s", got.body)
	assert.Equal(t, []string{"*"}, got.header.Values("Access-Control-Allow-Origin"))
	if want.status == http.StatusOK {
		assert.Empty(t, got.body)
		return
	}
	assert.Equal(t, "application/json", got.header.Get("Content-Type"))
	var body struct {
		Error    string
		Duration *int
	}
	require.NoError(t, json.Unmarshal(got.body, &body), "%.300s", got.body)
	assert.Regexp(t, want.error, body.Error)
	assert.NotNil(t, body.Duration, "every answer of IRI's has a duration")
	if got.proto == 1 {
		assert.Equal(t, nameOfCommand.ReplaceAllString(body.Error, "COMMAND is not"), got.phrase, "the phrase of the status line is the reason")
	}
	assert.Empty(t, got.header.Get("X-Reason"), "this is for HAProxy itself")
	assertHints(t, got)
}

// nameOfCommand is what the phrase of the status line lacks: HAProxy cannot put a variable there.
var nameOfCommand = regexp.MustCompile(`^COMMAND .+ is not`)

// assertHints requires the headers that tell a client what to do next.
func assertHints(t *testing.T, got answer) {
	t.Helper()
	switch got.status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		seconds, err := strconv.Atoi(got.header.Get("Retry-After"))
		assert.NoError(t, err, "Retry-After")
		assert.Positive(t, seconds)
	case http.StatusMethodNotAllowed:
		assert.Equal(t, "POST, OPTIONS", got.header.Get("Allow"))
	case http.StatusUnauthorized:
		assert.Regexp(t, `^Basic realm="`, got.header.Get("WWW-Authenticate"))
	}
}

// shorten turns a body into a name for its row.
func shorten(text string) string {
	if len(text) <= 60 {
		return text
	}
	return fmt.Sprintf("%s…%d", text[:50], len(text))
}
