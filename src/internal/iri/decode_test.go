package iri

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestResponsesAreClassifiedByStatusAndBody(t *testing.T) {
	for _, tt := range []struct {
		name     string
		status   int
		password bool
		body     string
		kind     Kind
		text     string
	}{
		{"an error", 400, false, `{"error":"Invalid parameters","duration":0}`, KindFailed, "Invalid parameters"},
		{"an exception", 500, false, `{"exception":"Invalid parameters"}`, KindFailed, "Invalid parameters"},
		{"an exception without a message", 500, false, `{"duration":0}`, KindFailed, ""},
		{"HORNET's object", 403, false, `{"error":{"code":"403","message":"forbidden"}}`, KindDenied, "forbidden"},
		{"an error of an unknown type", 400, false, `{"error":[1]}`, KindFailed, "an error without a message"},
		{"a limited command", 401, false, `{"error":"COMMAND x is not available on this node"}`, KindDenied, "COMMAND x is not available on this node"},
		{"basic auth", 401, true, `<html>`, KindAuth, ""},
		{"403 of a proxy", 403, false, `Forbidden`, KindDenied, ""},
		{"an error with status 200", 200, false, `{"error":"no"}`, KindFailed, "no"},
		{"an empty error with status 200", 200, false, `{"error":""}`, KindFailed, "an error without a message"},
		{"an empty body", 200, false, ``, KindNotIRI, ""},
		{"null", 200, false, `null`, KindNotIRI, ""},
		{"a list", 200, false, `[]`, KindNotIRI, ""},
		{"half an object", 200, false, `{"appName":`, KindNotIRI, ""},
		{"two objects", 200, false, `{}{}`, KindNotIRI, ""},
		{"HTML", 200, false, `<html>`, KindNotIRI, ""},
		{"a string instead of a number", 200, false, `{"latestMilestoneIndex":"1"}`, KindNotIRI, ""},
		{"a fraction", 200, false, `{"latestMilestoneIndex":1.5}`, KindNotIRI, ""},
		{"too large a number", 200, false, `{"latestMilestoneIndex":1e30}`, KindNotIRI, ""},
		{"no content", 204, false, ``, KindFailed, ""},
		{"not found", 404, false, `{"message":"Not Found"}`, KindFailed, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var e *Error
			require.ErrorAs(t, decode(tt.status, tt.password, []byte(tt.body), &NodeInfo{}), &e)
			assert.Equal(t, tt.kind, e.Kind)
			assert.Equal(t, tt.text, e.Text)
		})
	}
}

func TestANullErrorIsNoError(t *testing.T) {
	assert.NoError(t, decode(200, false, []byte(`{"error":null,"appName":"IRI"}`), &NodeInfo{}))
}

func TestCleanReturnsOneShortPrintableLine(t *testing.T) {
	assert.Equal(t, "a b c", Clean("a\n\tb \x1b\u202ec"))
	assert.Equal(t, strings.Repeat("é", maxText)+"…", Clean(strings.Repeat("é", 1000)))
}

// Details that differ from check to check must not be in the output.
func TestErrorTextsAreStable(t *testing.T) {
	expired := x509.CertificateInvalidError{Cert: &x509.Certificate{}, Reason: x509.Expired, Detail: "current time 2026-01-02"}
	for _, tt := range []struct {
		name string
		err  *Error
		want string
	}{
		{"local ports", transportError(&net.OpError{Op: "read", Net: "tcp", Err: errors.New("failed 127.0.0.1:54321")}), "the request failed: read tcp: failed #.#.#.#:#"},
		{"the name server", transportError(&net.DNSError{Err: "no such host", Name: "n", Server: "10.0.0.1:53", IsNotFound: true}), "the host name has no address"},
		{"an unresponsive name server", transportError(&net.DNSError{Err: "i/o timeout", IsTimeout: true}), "no response in time"},
		{"the time", transportError(&tls.CertificateVerificationError{Err: expired}), "the TLS certificate is not trusted: it has expired or is not valid yet"},
		{"another host", transportError(&tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "n"}}), "the TLS certificate is not trusted: it is for another host name"},
		{"the user", transportError(&url.Error{Op: "Post", URL: "http://user:***@n", Err: errors.New("failed")}), "the request failed: failed"},
		{"counters of the node", &Error{Kind: KindFailed, Status: 500, Text: "Index 5 out of 10"}, "the node responded with an error (HTTP status 500): Index # out of #"},
		{"a deadline", transportError(context.DeadlineExceeded), "no response in time"},
	} {
		t.Run(tt.name, func(t *testing.T) { assert.Equal(t, tt.want, tt.err.Error()) })
	}
}

func TestEveryKindHasAReason(t *testing.T) {
	for kind := KindUnknown; kind <= KindFailed; kind++ {
		assert.NotEmpty(t, reasons[kind], kind)
	}
}

func FuzzDecode(f *testing.F) {
	for _, body := range []string{
		`{"appName":"IRI","appVersion":"1.8.6","latestMilestoneIndex":5,"latestSolidSubtangleMilestoneIndex":5,"neighbors":3,"duration":0}`,
		`{"error":"COMMAND x is not available on this node"}`, `{"error":{"code":"403","message":"no"}}`,
		`{"exception":"x"}`, `{"error":null}`, `[]`, `null`, ``, `{`, "\ufeff{}", `{"error":"\u001b[31m\n"}`,
	} {
		f.Add(200, false, []byte(body))
		f.Add(401, true, []byte(body))
	}
	f.Fuzz(func(t *testing.T, status int, password bool, body []byte) {
		var info NodeInfo
		err := decode(status, password, body, &info)
		if err == nil {
			assert.Equal(t, 200, status)
			return
		}
		var e *Error
		require.ErrorAs(t, err, &e)
		for _, r := range e.Error() {
			assert.True(t, unicode.IsPrint(r), "%q", e.Error())
		}
		assert.Less(t, len(e.Error()), 4*maxText+200)
	})
}

func TestSocketDeadlinesAreTimeouts(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	conn, err := net.DialTimeout("tcp", listener.Addr().String(), time.Second)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(-time.Second)))
	_, err = conn.Read(make([]byte, 1))
	assert.Equal(t, KindTimeout, transportKind(err))
}
