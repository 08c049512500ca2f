package iri

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
)

// Kind classifies why a command has no usable response. Callers branch on it.
type Kind int

// The kinds. Up to KindNotHTTP there was no HTTP response, from KindRedirect on there was one.
const (
	KindUnknown     Kind = iota
	KindCanceled         // the caller's context was cancelled
	KindTimeout          // no complete response in time
	KindDNS              // the host name has no address
	KindRefused          // nothing listens on the port
	KindUnreachable      // no route to the host
	KindClosed           // the connection was closed before the response was complete
	KindCertificate      // TLS: the certificate is not trusted
	KindTLS              // TLS: the handshake failed
	KindNotTLS           // https was expected, but the server does not speak TLS
	KindNotHTTP          // the server does not speak HTTP
	KindRedirect         // status 3xx
	KindTooLarge         // the response is larger than 1 MiB
	KindNotIRI           // status 200, but not the JSON of IRI
	KindAuth             // 401 with a challenge for basic authentication
	KindDenied           // 401 or 403: the command is limited
	KindFailed           // any other status, or an error in the response
)

var reasons = map[Kind]string{
	KindUnknown:     "the request failed",
	KindCanceled:    "the check was cancelled",
	KindTimeout:     "no response in time",
	KindDNS:         "the host name has no address",
	KindRefused:     "connection refused",
	KindUnreachable: "the host cannot be reached",
	KindClosed:      "the connection was closed before the response was complete",
	KindCertificate: "the TLS certificate is not trusted",
	KindTLS:         "the TLS handshake failed",
	KindNotTLS:      "the port does not speak TLS",
	KindNotHTTP:     "the port does not speak HTTP",
	KindRedirect:    "the response is a redirect, which is not followed",
	KindTooLarge:    "the response is larger than 1 MiB",
	KindNotIRI:      "the response is not valid IRI JSON",
	KindAuth:        "a user name and password are required",
	KindDenied:      "the command is not available from this host",
	KindFailed:      "the node responded with an error",
}

// Error is why a command has no usable response.
type Error struct {
	// Command is the command that was sent.
	Command string
	Kind    Kind
	// Status is the HTTP status, 0 without a response.
	Status int
	// Text is the node's own explanation, passed through [Clean], or "".
	Text string
	// FromNode: the body was a JSON object, as a node sends, and not for example the HTML page of a proxy.
	FromNode bool
	// Err is the cause. It may contain details that differ each time, such as a local port, so Error omits it.
	Err error
}

// Error returns the same text as long as the reason is the same: it becomes the output of a check, and Consul wakes all
// watchers of a check whose output changes.
func (e *Error) Error() string {
	text := e.Reason()
	if e.Command != "" {
		text = e.Command + ": " + text
	}
	return text
}

// Reason is Error without the command.
func (e *Error) Reason() string {
	text := reasons[e.Kind]
	switch {
	case e.Kind == KindCertificate:
		text += certificateReason(e.Err)
	case e.Kind == KindUnknown && e.Err != nil:
		text += ": " + maskNumbers(Clean(e.Err.Error()))
	}
	if e.Status != 0 && e.Status != http.StatusOK {
		text += fmt.Sprintf(" (HTTP status %d)", e.Status)
	}
	if e.Text != "" {
		text += ": " + maskNumbers(e.Text)
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of an *Error, and KindUnknown for any other error.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return KindUnknown
}

// maskNumbers replaces each number by "#": numbers in such texts are often counters, which change each time.
func maskNumbers(text string) string {
	var b strings.Builder
	inNumber := false
	for _, r := range text {
		isDigit := r >= '0' && r <= '9'
		switch {
		case !isDigit:
			b.WriteRune(r)
		case !inNumber:
			b.WriteByte('#')
		}
		inNumber = isDigit
	}
	return b.String()
}

// transportError classifies an error of the network, TLS or net/http when there is no complete response.
func transportError(err error) *Error {
	// url.Error would add the URL, which has the user name.
	if outer := (*url.Error)(nil); errors.As(err, &outer) {
		err = outer.Err
	}
	return &Error{Kind: transportKind(err), Err: err}
}

func transportKind(err error) Kind {
	var (
		name   *net.DNSError
		record tls.RecordHeaderError
		alert  tls.AlertError
	)
	switch {
	case errors.Is(err, context.Canceled):
		return KindCanceled
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return KindTimeout
	case errors.As(err, &name):
		if name.IsTimeout {
			return KindTimeout
		}
		return KindDNS
	case isCertificateError(err):
		return KindCertificate
	case errors.As(err, &record):
		return KindNotTLS
	case errors.As(err, &alert):
		return KindTLS
	case errors.Is(err, syscall.ECONNREFUSED):
		return KindRefused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		return KindUnreachable
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return KindClosed
	}
	return kindByText(err.Error())
}

// kindByText classifies errors of the standard library that have no type of their own.
func kindByText(text string) Kind {
	switch {
	case strings.Contains(text, "server gave HTTP response to HTTPS client"):
		return KindNotTLS
	case strings.Contains(text, "malformed"), strings.Contains(text, "bad Content-Length"), strings.Contains(text, "invalid Content-Length"),
		strings.Contains(text, "unsupported transfer encoding"), strings.Contains(text, "response headers exceeded"):
		return KindNotHTTP
	case strings.Contains(text, "tls:"), strings.Contains(text, "remote error"):
		return KindTLS
	}
	return KindUnknown
}

func isCertificateError(err error) bool {
	var verify *tls.CertificateVerificationError
	return errors.As(err, &verify)
}

// certificateReason is shorter than the text of crypto/x509, which contains the current time.
func certificateReason(err error) string {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &unknown):
		return ": signed by an unknown authority, or self-signed"
	case errors.As(err, &hostname):
		return ": it is for another host name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return ": it has expired or is not valid yet"
	}
	return ""
}
