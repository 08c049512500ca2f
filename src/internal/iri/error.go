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

// Kind says what kept a command from being answered. Callers branch on it.
type Kind int

// The kinds. Those up to KindNotHTTP have no HTTP answer, the others have one.
const (
	KindUnknown     Kind = iota
	KindCanceled         // the caller gave up
	KindTimeout          // not answered in time
	KindName             // the host name has no address
	KindRefused          // nothing listens on the port
	KindUnreachable      // no way to the host
	KindClosed           // the connection ended before the answer did
	KindCertificate      // TLS: the certificate is not to be trusted
	KindTLS              // TLS: no agreement
	KindNotTLS           // https was asked and something else answered
	KindNotHTTP          // what answered does not speak HTTP
	KindRedirect         // the node points elsewhere
	KindTooLarge         // the answer is larger than 1 MiB
	KindNotIRI           // status 200, but not IRI's JSON
	KindPassword         // 401 of basic auth
	KindDenied           // 401 or 403: the command is limited
	KindFailed           // any other status, or an error in the answer
)

var reasons = map[Kind]string{
	KindUnknown:     "could not be asked",
	KindCanceled:    "the check was stopped",
	KindTimeout:     "no answer in time",
	KindName:        "the host name has no address",
	KindRefused:     "connection refused",
	KindUnreachable: "the host cannot be reached",
	KindClosed:      "the connection was closed before the answer was complete",
	KindCertificate: "the TLS certificate is not trusted",
	KindTLS:         "no TLS connection could be made",
	KindNotTLS:      "the port does not speak TLS",
	KindNotHTTP:     "the port does not speak HTTP",
	KindRedirect:    "the answer is a redirect, which is not followed",
	KindTooLarge:    "the answer is larger than 1 MiB",
	KindNotIRI:      "the answer is not IRI's JSON",
	KindPassword:    "a user and a password are asked for",
	KindDenied:      "the command is not available from here",
	KindFailed:      "the node answered with an error",
}

// Error is why a command has no usable answer.
type Error struct {
	// Command is what was sent.
	Command string
	Kind    Kind
	// Status is the HTTP status, 0 when there was none.
	Status int
	// Text is the node's own explanation, cleaned, or "".
	Text string
	// FromNode tells that the answer was a JSON object, as a node's is, and not
	// for example a proxy's page.
	FromNode bool
	// Err is the cause. It may hold what changes from one time to the next, such
	// as a local port, so Error does not print it.
	Err error
}

// Error says the same as long as the reason is the same: it is meant for the
// output of a check, and a changed output wakes everyone who watches it.
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
		text += ": " + steady(Clean(e.Err.Error()))
	}
	if e.Status != 0 && e.Status != http.StatusOK {
		text += fmt.Sprintf(" (HTTP status %d)", e.Status)
	}
	if e.Text != "" {
		text += ": " + steady(e.Text)
	}
	return text
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf is the kind of an error of this package, else KindUnknown.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return KindUnknown
}

// steady replaces the numbers in a node's text: they are often counters.
func steady(text string) string {
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

// transportError sorts what net/http says when there is no complete answer.
func transportError(err error) *Error {
	// What url.Error adds is the URL, with the user name.
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
		return KindName
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

// kindByText is for the errors of the standard library that have no type.
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

// certificateReason leaves out the time, which Go's own text has.
func certificateReason(err error) string {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &unknown):
		return ": signed by an unknown authority, or by itself"
	case errors.As(err, &hostname):
		return ": it is for another host name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return ": it has expired or is not valid yet"
	}
	return ""
}
