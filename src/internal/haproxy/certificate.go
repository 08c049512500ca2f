package haproxy

import (
	"strings"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/certificate"
)

// SetCertificate opens a transaction that replaces a certificate file, or changes the one that is open. HAProxy 2.6 also
// changes the transaction of another file, which its answer tells.
func SetCertificate(file Path, pair certificate.Pair) Command {
	return Command{line: "set ssl cert " + file.path, payload: pair.PEM(), hidden: true, accept: func(reply string) bool {
		return strings.HasSuffix(reply, "Transaction created for certificate "+file.path+"!") ||
			strings.HasSuffix(reply, "Transaction updated for certificate "+file.path+"!")
	}}
}

// CommitCertificate makes HAProxy use what SetCertificate gave it, for all new connections; open ones go on. It changes
// no file.
func CommitCertificate(file Path) Command {
	return Command{line: "commit ssl cert " + file.path, hidden: true, accept: func(reply string) bool {
		return strings.HasSuffix(reply, "Success!")
	}}
}

// AbortCertificate ends a transaction, if there is one.
func AbortCertificate(file Path) Command {
	return Command{line: "abort ssl cert " + file.path, hidden: true, accept: func(reply string) bool {
		return strings.HasPrefix(reply, "Transaction aborted for certificate ") || reply == "No ongoing transaction!"
	}}
}

// Unused reports whether HAProxy's configuration does not name this certificate file.
func (e *CommandError) Unused() bool {
	return strings.Contains(e.Reply, "certificate which is not referenced by the configuration")
}
