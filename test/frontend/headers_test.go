//go:build integration

package frontend

import (
	"net/http"
	"strings"
)

const (
	powBody    = `{"command":"attachToTangle"}`
	infoBody   = `{"command":"getNodeInfo"}`
	deniedBody = `{"command":"getNeighbors"}`
)

// headerRows are the requests that differ in their method and headers, in any version of HTTP.
func headerRows() []tableRow {
	var rows []tableRow
	for name, body := range map[string]string{"attachToTangle": powBody, "getNeighbors": deniedBody, "getNodeInfo": infoBody, "no command": "{}"} {
		for _, method := range []string{"GET", "PUT", "DELETE", "PATCH", "TRACE", "post", "Post", "PROPFIND", "FOO"} {
			rows = append(rows, tableRow{method + " with " + name, request{method: method, body: body}, notPost})
		}
		rows = append(rows,
			tableRow{"OPTIONS with " + name, request{method: "OPTIONS", body: body}, preflight},
			tableRow{"OPTIONS without the API version, with " + name, request{method: "OPTIONS", plain: true, body: body}, preflight},
			tableRow{"no API version, with " + name, request{plain: true, body: body}, noVersion},
			tableRow{"no API version, GET with " + name, request{plain: true, method: "GET", body: body}, noVersion},
			tableRow{"no API version, from the whitelist, with " + name, request{plain: true, body: body, source: trusted}, noVersion},
		)
	}
	with := func(name string, want verdict, body string, pairs ...string) {
		header := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			header.Add(pairs[i], pairs[i+1])
		}
		rows = append(rows, tableRow{name, request{body: body, header: header}, want})
	}
	// IRI requires the header and never reads its value.
	with("an empty API version", atDefault, infoBody, "X-Iota-Api-Version", "")
	with("an odd API version", atDefault, infoBody, "X-Iota-Api-Version", "one, two; three")
	with("two API versions", atDefault, infoBody, "X-Iota-Api-Version", "1", "X-Iota-Api-Version", "2")
	for _, body := range []struct {
		text string
		want verdict
	}{{powBody, atPoW}, {infoBody, atDefault}, {deniedBody, denied("getNeighbors")}} {
		as := func(name string, pairs ...string) { with(name+": "+body.text, body.want, body.text, pairs...) }
		as("no content type that fits", "Content-Type", "text/plain")
		as("a content type of forms", "Content-Type", "application/x-www-form-urlencoded")
		as("a content type with another charset", "Content-Type", "application/json; charset=utf-16")
		as("a content encoding that is none", "Content-Encoding", "gzip")
		as("a method in X-HTTP-Method-Override", "X-Http-Method-Override", "GET", "X-Method-Override", "OPTIONS")
		as("another address in X-Original-URL", "X-Original-Url", "/_fake/state", "X-Rewrite-Url", "/x")
		as("the whitelist in X-Forwarded-For", "X-Forwarded-For", trusted)
		as("the whitelist in other headers", "Forwarded", "for="+trusted, "X-Real-Ip", trusted, "X-Client-Ip", trusted, "True-Client-Ip", trusted)
		as("a command in a header", "Command", "getNodeInfo", "X-Pool", "default")
		as("a header of 8 kB", "X-Long", strings.Repeat("a", 8192))
	}
	long := verdict{status: 400, error: `^The header is too long$`}
	with("a header of 17 kB", long, infoBody, "X-Long", strings.Repeat("a", 17_000))
	with("a header of 17 kB with attachToTangle", long, powBody, "X-Long", strings.Repeat("a", 17_000))
	with("headers of 60 kB", long, powBody, "X-Long", strings.Repeat("a", 30_000), "X-More", strings.Repeat("b", 30_000))
	return rows
}
