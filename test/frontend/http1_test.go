//go:build integration

package frontend

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// wireRow is the exact text that is sent on one connection of HTTP/1.1, and what has to come back, answer by answer.
type wireRow struct {
	name  string
	parts []string
	want  []verdict
	// incomplete: the client never finishes the request; it closes its side at once.
	incomplete bool
}

// unparsed is what HAProxy cannot read as HTTP, or not to its end: it answers with an error page of its own, or just
// closes the connection.
var unparsed = verdict{status: 400, bare: true}

// head is a request's first line and headers, without the empty line at the end.
func head(line string, lines ...string) string {
	return line + "\r\nHost: iri\r\nX-IOTA-API-Version: 1\r\n" + strings.Join(append(lines, ""), "\r\n")
}

// post is a whole request with a body.
func post(body string, lines ...string) string {
	return head("POST / HTTP/1.1", append(lines, fmt.Sprintf("Content-Length: %d", len(body)))...) + "\r\n" + body
}

// postChunks is a whole request whose body is already encoded in chunks.
func postChunks(encoded string, lines ...string) string {
	return head("POST / HTTP/1.1", append(lines, "Transfer-Encoding: chunked")...) + "\r\n" + encoded
}

// TestRawHTTP1 sends what no library would send.
func TestRawHTTP1(t *testing.T) {
	p := startPools(t, roomy(nil))
	rows := lineRows()
	rows = append(rows, lengthRows()...)
	rows = append(rows, chunkedRows()...)
	rows = append(rows, fieldRows()...)
	rows = append(rows, targetRows()...)
	rows = append(rows, connectionRows()...)
	rows = append(rows, hiddenRows()...)
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			expected := len(r.want)
			if r.incomplete {
				expected = 0
			}
			got, err := exchange(p.HAProxy, "", expected, r.parts...)
			require.NoError(t, err)
			p.judgeWire(t, r, got)
		})
	}
	t.Logf("%d rows", len(rows))
}

// judgeWire checks the answers one by one, and that the nodes received the requests that were let through, each with a
// command for the pool of its node.
func (p *pools) judgeWire(t *testing.T, r wireRow, got []answer) {
	t.Helper()
	wanted := map[string]int{}
	for _, want := range r.want {
		wanted[want.node]++
	}
	for _, node := range p.nodes {
		arrived := node.take(t)
		assert.Len(t, arrived, wanted[node.name], "requests that reached node %s", node.name)
		for _, a := range arrived {
			assertClean(t, node.name, a)
		}
	}
	if last := r.want[len(r.want)-1]; last.bare && len(got) == len(r.want)-1 {
		r.want = r.want[:len(got)]
	}
	require.Len(t, got, len(r.want), "answers: %s", statuses(got))
	for i, want := range r.want {
		if want.node == "" {
			assertRefused(t, want, got[i])
		} else {
			assert.Equal(t, want.node, got[i].header.Get("X-Fake-Node"), "the node of answer %d, with status %d: %s", i+1, got[i].status, got[i].body)
		}
	}
}

func statuses(answers []answer) string {
	var list []string
	for _, a := range answers {
		list = append(list, fmt.Sprintf("%d %.80s", a.status, a.body))
	}
	return strings.Join(list, " | ")
}

// assertClean requires a request as HAProxy forwards it: for this pool, and without anything that could change the
// meaning of the connection to the node.
func assertClean(t *testing.T, pool string, a arrival) {
	t.Helper()
	assert.Equal(t, http.MethodPost, a.method)
	assert.Equal(t, "/", a.uri)
	var body struct{ Command string }
	require.NoError(t, json.Unmarshal(a.body, &body), "%.100q", a.body)
	command := strings.ToLower(body.Command)
	assert.Equal(t, pool == toPoW, command == "attachtotangle" || command == "interruptattachingtotangle", "%s at node %s", body.Command, pool)
	assert.NotContains(t, command, "neighbors")
	for _, name := range []string{"Upgrade", "Http2-Settings", "Expect", "Te"} {
		assert.Empty(t, a.header.Values(name), name)
	}
	assert.Equal(t, []string{"127.0.0.1"}, a.header.Values("X-Forwarded-For"))
}

func one(name, text string, want ...verdict) wireRow {
	return wireRow{name: name, parts: []string{text}, want: want}
}

// inParts is a row whose parts arrive in a packet each.
func inParts(name string, parts []string, want ...verdict) wireRow {
	return wireRow{name: name, parts: parts, want: want}
}

// cutOff is a row with a request whose end never arrives.
func cutOff(name, text string) wireRow {
	return wireRow{name: name, parts: []string{text}, want: []verdict{unparsed}, incomplete: true}
}

// lineRows: the first line, and line endings.
func lineRows() []wireRow {
	size := fmt.Sprintf("Content-Length: %d", len(powBody))
	rows := []wireRow{
		one("HTTP/1.0", head("POST / HTTP/1.0", size)+"\r\n"+powBody, atPoW),
		one("HTTP/1.0, kept", head("POST / HTTP/1.0", "Connection: keep-alive", size)+"\r\n"+powBody+post(infoBody), atPoW, atDefault),
		one("HTTP/1.0 with a command for operators", head("POST / HTTP/1.0", "Content-Length: 26")+"\r\n"+deniedBody, denied("getNeighbors")),
		one("HTTP/1.0 without a length", head("POST / HTTP/1.0")+"\r\n"+powBody, unreadable),
		one("HTTP/1.1 without a length", head("POST / HTTP/1.1", "Connection: close")+"\r\n", unreadable),
		one("line feeds alone", strings.ReplaceAll(post(powBody), "\r\n", "\n"), atPoW),
		one("empty lines before", "\r\n\r\n"+post(infoBody), atDefault),
	}
	for _, line := range []string{"POST / HTTP/2.0", "POST / HTTP/3.0", "POST  / HTTP/1.1", "POST\t/\tHTTP/1.1"} {
		// The node gets it in proper HTTP/1.1.
		rows = append(rows, one(fmt.Sprintf("the line %q", line), head(line, size)+"\r\n"+powBody, atPoW))
	}
	for _, line := range []string{
		"GET /", "POST /", "POST / HTTP/0.9", "POST / HTTP/1.10", "POST / http/1.1", "POST / XTTP/1.1",
		"POST HTTP/1.1", "POST /a b HTTP/1.1", " POST / HTTP/1.1", "PO\tST / HTTP/1.1", "PO(ST / HTTP/1.1", "POST / HTTP/1.1\x00", "POST /\x00 HTTP/1.1",
		"POST /\x7f HTTP/1.1", "POST /\xff HTTP/1.1", "POST / HTTP/1.1 x", "{\"command\":\"attachToTangle\"}",
	} {
		rows = append(rows, one(fmt.Sprintf("the line %q", line), head(line, size)+"\r\n"+powBody, unparsed))
	}
	return rows
}

// lengthRows: where the body ends. Two servers that disagree about this can be made to see different requests.
func lengthRows() []wireRow {
	rows := []wireRow{
		one("the same length twice", post(powBody, fmt.Sprintf("Content-Length: %d", len(powBody))), atPoW),
		one("the same length twice in a line", head("POST / HTTP/1.1", "Content-Length: 28, 28")+"\r\n"+powBody, atPoW),
		one("bytes after the body", post(infoBody)+"xyz\r\n\r\n", atDefault, unparsed),
		one("a request after the body", post(infoBody)+post(powBody)+post(deniedBody), atDefault, atPoW, denied("getNeighbors")),
		cutOff("a body cut off", head("POST / HTTP/1.1", "Content-Length: 40")+"\r\n"+powBody),
		cutOff("a body that never begins", head("POST / HTTP/1.1", "Content-Length: 40")+"\r\n"),
		one("no body", post(""), unreadable),
	}
	for _, value := range []string{"5, 28", "28, 5", "+28", "-1", "0x1c", "28x", "2 8", "99999999999999999999", "18446744073709551644", "1e3", "28.0", "\"28\"", "28;28", ",", ""} {
		rows = append(rows, one(fmt.Sprintf("the length %q", value), head("POST / HTTP/1.1", "Content-Length: "+value)+"\r\n"+powBody, unparsed))
	}
	both := "Content-Length: 28"
	encoded := chunked(powBody, 7, "")
	return append(rows,
		one("two lengths", head("POST / HTTP/1.1", both, "Content-Length: 5")+"\r\n"+powBody, unparsed),
		one("a length before chunks", head("POST / HTTP/1.1", both, "Transfer-Encoding: chunked", "Connection: close")+"\r\n"+encoded, atPoW),
		one("a length after chunks", head("POST / HTTP/1.1", "Transfer-Encoding: chunked", both, "Connection: close")+"\r\n"+encoded, atPoW),
		one("a length that hides a request behind chunks", postChunks("0\r\n\r\n"+post(powBody), "Content-Length: 150"), unreadable),
		one("a length of 1 GB, nothing sent", head("POST / HTTP/1.1", "Content-Length: 1000000000")+"\r\n", tooLong),
	)
}

// chunkedRows: the same with chunks.
func chunkedRows() []wireRow {
	hex := fmt.Sprintf("%x", len(powBody))
	rows := []wireRow{
		one("chunks with extensions", postChunks(chunked(powBody, 5, ";a=b")), atPoW),
		one("chunks with quoted extensions", postChunks(chunked(powBody, 5, `;a="b;c"`)), atPoW),
		one("an extension that looks like a chunk", postChunks(chunked(powBody, 5, ";{\"command\":\"getNodeInfo\"}")), atPoW),
		one("upper-case sizes", postChunks(strings.ToUpper(hex)+"\r\n"+powBody+"\r\n0\r\n\r\n"), atPoW),
		one("sizes with zeros", postChunks("0000"+hex+"\r\n"+powBody+"\r\n000\r\n\r\n"), atPoW),
		one("trailers", postChunks(hex+"\r\n"+powBody+"\r\n0\r\nX-A: b\r\nX-C: d\r\n\r\n"), atPoW),
		one("a length in the trailers", postChunks(hex+"\r\n"+powBody+"\r\n0\r\nContent-Length: 3\r\nTransfer-Encoding: x\r\n\r\n"+post(infoBody)), unparsed),
		one("the API version in the trailers only", "POST / HTTP/1.1\r\nHost: iri\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"+hex+"\r\n"+powBody+"\r\n0\r\nX-IOTA-API-Version: 1\r\n\r\n", noVersion),
		one("an upgrade in the trailers", postChunks(hex+"\r\n"+powBody+"\r\n0\r\nUpgrade: h2c\r\n\r\n"), atPoW),
		one("a request after chunks", postChunks(chunked(infoBody, 3, ""))+postChunks(chunked(powBody, 4, "")), atDefault, atPoW),
		one("one byte in each packet", postChunks(chunked(deniedBody, 1, "")), denied("getNeighbors")),
	}
	for name, encoded := range map[string]string{
		"no size": "\r\n" + powBody + "\r\n0\r\n\r\n", "a size that is no number": "xyz\r\n" + powBody, "a size with a prefix": "0x" + hex + "\r\n" + powBody + "\r\n0\r\n\r\n",
		"a negative size": "-1\r\n" + powBody, "a size of 17 digits": "F000000000000001c\r\n" + powBody + "\r\n0\r\n\r\n", "a size too small": "5\r\n" + powBody + "\r\n0\r\n\r\n",
		"no line end behind a chunk": hex + "\r\n" + powBody + "0\r\n\r\n", "a space before a size": " " + hex + "\r\n" + powBody + "\r\n0\r\n\r\n",
	} {
		rows = append(rows, one("chunks: "+name, postChunks(encoded), unparsed))
	}
	for name, encoded := range map[string]string{
		"a size too large": "ff\r\n" + powBody + "\r\n0\r\n\r\n", "no end": hex + "\r\n" + powBody + "\r\n", "the end without an empty line": hex + "\r\n" + powBody + "\r\n0\r\n",
	} {
		rows = append(rows, cutOff("chunks: "+name, postChunks(encoded)))
	}
	encoded := chunked(powBody, 7, "")
	for _, value := range []string{"xchunked", "identity", "gzip", "gzip, chunked", "chunked, gzip", "chunked, chunked", "chunked;q=1", "\x0bchunked", "chunked\x00", "chunke d", ""} {
		rows = append(rows, one(fmt.Sprintf("the encoding %q", value), head("POST / HTTP/1.1", "Transfer-Encoding: "+value)+"\r\n"+encoded, unparsed))
	}
	return append(rows,
		one("the encoding in capitals", head("POST / HTTP/1.1", "TRANSFER-ENCODING: CHUNKED")+"\r\n"+encoded, atPoW),
		one("the encoding twice", head("POST / HTTP/1.1", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked")+"\r\n"+encoded, unparsed),
		one("another encoding besides", head("POST / HTTP/1.1", "Transfer-Encoding: identity", "Transfer-Encoding: chunked")+"\r\n"+encoded, unparsed),
		one("the encoding on a folded line", head("POST / HTTP/1.1", "Transfer-Encoding:", " chunked")+"\r\n"+encoded, atPoW),
		one("chunks in HTTP/1.0", head("POST / HTTP/1.0", "Transfer-Encoding: chunked")+"\r\n"+encoded, unparsed),
	)
}

// fieldRows: lines that are not headers, or that others take for another header.
func fieldRows() []wireRow {
	bare := "POST / HTTP/1.1\r\nHost: iri\r\nConnection: close\r\nContent-Length: 28\r\n"
	rows := []wireRow{
		one("header names in lower case", "POST / HTTP/1.1\r\nhost: iri\r\nx-iota-api-version: 1\r\ncontent-length: 28\r\n\r\n"+powBody, atPoW),
		one("header names in capitals", "POST / HTTP/1.1\r\nHOST: iri\r\nX-IOTA-API-VERSION: 1\r\nCONTENT-LENGTH: 28\r\n\r\n"+powBody, atPoW),
		one("no space behind the colon", "POST / HTTP/1.1\r\nHost:iri\r\nX-IOTA-API-Version:1\r\nContent-Length:28\r\n\r\n"+powBody, atPoW),
		one("a folded line", post(powBody, "X-A: b", "\tc"), atPoW),
		one("the API version with underscores", bare+"X_IOTA_API_Version: 1\r\n\r\n"+powBody, noVersion),
		one("the API version in another value", bare+"X-A: X-IOTA-API-Version: 1\r\n\r\n"+powBody, noVersion),
		one("the API version on a folded line", bare+"X-A: b\r\n X-IOTA-API-Version: 1\r\n\r\n"+powBody, noVersion),
		one("the API version as a part of a name", bare+"XX-IOTA-API-Version: 1\r\nX-IOTA-API-Version2: 1\r\n\r\n"+powBody, noVersion),
		one("the API version as cookie and in the address", strings.Replace(bare, "POST /", "POST /?X-IOTA-API-Version=1", 1)+"Cookie: X-IOTA-API-Version=1\r\n\r\n"+powBody, noVersion),
		one("the API version empty", bare+"X-IOTA-API-Version:\r\n\r\n"+powBody, atPoW),
		one("200 headers", post(powBody, strings.Split(strings.TrimSuffix(strings.Repeat("X-A: b\n", 200), "\n"), "\n")...), unparsed),
		one("a header of 1.2 MB", post(powBody, "X-A: "+strings.Repeat("b", 1_200_000)), unparsed),
	}
	for _, line := range []string{
		"X-A : b", "X-A\t: b", ": b", "X-A", "X A: b", "X-A\x00: b", "X-A: b\x00c", "X-\x80: b", "X-A: b\rc", "\x0bX-A: b", "X(A): b", "X-A: b\r\n\x00",
		"Transfer-Encoding : chunked", "Content-Length : 5", "X-IOTA-API-Version : 1",
	} {
		rows = append(rows, one(fmt.Sprintf("the header line %q", line), post(powBody, line), unparsed))
	}
	return append(rows, one("a space before the first header", strings.Replace(post(powBody), "\r\nHost", "\r\n Host", 1), unparsed))
}

// targetRows: to IRI all paths are the same, and the nodes see only one.
func targetRows() []wireRow {
	var rows []wireRow
	for _, target := range []string{
		"/", "//", "/x", "/_fake/state", "/../../x", "/%2e%2e/", "/%00", "/?command=getNodeInfo", "/?a=b;c", "/;x", "/a%20b", "/metrics", "/getNodeInfo",
		"http://iri/", "http://iri", "http://iri/?x=http://evil/",
	} {
		body, want := powBody, atPoW
		rows = append(rows, one("the target "+target, strings.Replace(post(body), "POST /", "POST "+target, 1), want),
			one("the target "+target+" with a command for operators", strings.Replace(post(deniedBody), "POST /", "POST "+target, 1), denied("getNeighbors")))
	}
	return append(rows,
		one("OPTIONS of everything", head("OPTIONS * HTTP/1.1")+"\r\n", preflight),
		one("the target *", head("POST * HTTP/1.1", "Content-Length: 28")+"\r\n"+powBody, unparsed),
		one("a target without a slash", head("POST iri HTTP/1.1", "Content-Length: 28")+"\r\n"+powBody, unparsed),
		one("another host in the target", head("POST http://evil.example/ HTTP/1.1", "Content-Length: 28")+"\r\n"+powBody, unparsed),
		one("CONNECT", "CONNECT iri:14265 HTTP/1.1\r\nHost: iri:14265\r\nX-IOTA-API-Version: 1\r\n\r\n", notPost),
		one("CONNECT to a path", head("CONNECT / HTTP/1.1")+"\r\n", unparsed),
		one("GET as a browser does", "GET / HTTP/1.1\r\nHost: iri\r\n\r\n", noVersion),
	)
}

// connectionRows: upgrades of the connection, and slow requests.
func connectionRows() []wireRow {
	upgrade := []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"}
	h2c := []string{"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"}
	pipeline := []string{post(infoBody), post(powBody), post(deniedBody), post(`{"command":1}`), postChunks(chunked(powBody, 3, "")), post(infoBody)}
	answers := []verdict{atDefault, atPoW, denied("getNeighbors"), unreadable, atPoW, atDefault}
	var letters []string
	for _, c := range post(powBody) {
		letters = append(letters, string(c))
	}
	return []wireRow{
		one("six requests in one packet", strings.Join(pipeline, ""), answers...),
		inParts("six requests in six packets", pipeline, answers...),
		inParts("a byte a packet", letters, atPoW),
		inParts("a body cut within its key", []string{head("POST / HTTP/1.1", "Content-Length: 28") + "\r\n{\"comm", `and":"attachToT`, `angle"}`}, atPoW),
		inParts("a chunk's size cut", []string{head("POST / HTTP/1.1", "Transfer-Encoding: chunked") + "\r\n1", "c\r\n" + powBody + "\r", "\n0\r\n", "\r\n"}, atPoW),
		inParts("a command for operators in pieces", []string{head("POST / HTTP/1.1", "Content-Length: 26") + "\r\n{\"command\":\"getNei", `ghbors"}`}, denied("getNeighbors")),
		inParts("Expect: 100-continue", []string{head("POST / HTTP/1.1", "Expect: 100-continue", "Content-Length: 28") + "\r\n", untilContinue, powBody}, atPoW),
		inParts("Expect: 100-continue, chunks", []string{head("POST / HTTP/1.1", "Expect: 100-continue", "Transfer-Encoding: chunked") + "\r\n", untilContinue, chunked(deniedBody, 9, "")}, denied("getNeighbors")),
		inParts("Expect: 100-continue, 900 kB", []string{head("POST / HTTP/1.1", "Expect: 100-continue", "Content-Length: 900000") + "\r\n", untilContinue, padded(900_000, "attachToTangle")}, atPoW),
		one("Expect: 100-continue, too long", head("POST / HTTP/1.1", "Expect: 100-continue", "Content-Length: 1000001")+"\r\n", tooLong),
		one("Expect: 100-continue without the API version", "POST / HTTP/1.1\r\nHost: iri\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 28\r\n\r\n", noVersion),
		one("Upgrade: websocket", post(powBody, upgrade...), atPoW),
		one("Upgrade: websocket with GET", head("GET / HTTP/1.1", upgrade...)+"\r\n", notPost),
		one("Upgrade: h2c", post(powBody, h2c...), atPoW),
		one("Upgrade: h2c with a command for operators", post(deniedBody, h2c...), denied("getNeighbors")),
		one("Upgrade: TLS/1.0", post(infoBody, "Connection: Upgrade", "Upgrade: TLS/1.0"), atDefault),
		one("headers named by Connection", post(infoBody, "Connection: close, X-Forwarded-For, X-IOTA-API-Version, Content-Length, Content-Type"), atDefault),
		one("Proxy-Connection", post(powBody, "Proxy-Connection: keep-alive"), atPoW),
		one("no host in HTTP/1.1", "POST / HTTP/1.1\r\nX-IOTA-API-Version: 1\r\nContent-Length: 28\r\n\r\n"+powBody, atPoW),
		one("two hosts", post(powBody, "Host: evil.example"), unparsed),
		one("TE: trailers", post(powBody, "TE: trailers", "Connection: TE"), atPoW),
	}
}

// hiddenRows: a request hidden in the body of one that is refused is never read.
func hiddenRows() []wireRow {
	hidden := post(powBody) + post(infoBody)
	noAPI := fmt.Sprintf("POST / HTTP/1.1\r\nHost: iri\r\nContent-Length: %d\r\n\r\n%s", len(hidden), hidden)
	size := fmt.Sprintf("Content-Length: %d", len(hidden))
	rows := []wireRow{
		one("behind a missing API version", noAPI, noVersion),
		one("behind a bad command", post(hidden), unreadable),
		one("behind GET", head("GET / HTTP/1.1", size)+"\r\n"+hidden, notPost),
		one("behind OPTIONS", head("OPTIONS / HTTP/1.1", size)+"\r\n"+hidden, preflight),
		one("behind TRACE", head("TRACE / HTTP/1.1", size)+"\r\n"+hidden, notPost),
		one("behind chunks", postChunks(chunked(hidden, 50, "")), unreadable),
		one("behind GET with chunks", head("GET / HTTP/1.1", "Transfer-Encoding: chunked")+"\r\n"+chunked(hidden, 50, ""), notPost),
		one("behind a length that is too long", head("POST / HTTP/1.1", "Content-Length: 1000001")+"\r\n"+hidden, verdict{status: 413, bare: true}),
		one("behind too long a header", post(hidden, "X-A: "+strings.Repeat("b", 17_000)), verdict{status: 400, error: "^The header is too long$"}),
		one("behind Expect", head("POST / HTTP/1.1", "Expect: 100-continue", "Content-Length: 1000001")+"\r\n"+hidden, verdict{status: 413, bare: true}),
	}
	for i := range rows {
		rows[i].name = "requests hidden " + rows[i].name
	}
	return rows
}
