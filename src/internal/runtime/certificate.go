package runtime

import (
	"context"
	"errors"
	"strings"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/certificate"
)

// Certificate makes HAProxy use the pair for the certificate file of this name,
// for all new connections; open ones go on. HAProxy takes it as a whole or
// refuses it. It changes no file.
func (c *Conn) Certificate(ctx context.Context, file MapFile, pair certificate.Pair) error {
	if err := c.one(ctx, setCertificate(file, pair)); err != nil {
		return err
	}
	err := c.one(ctx, commitCertificate(file))
	var refused *CommandError
	if errors.As(err, &refused) {
		// What is left of the transaction would be in everybody's way.
		err = errors.Join(err, c.one(ctx, abortCertificate(file)))
	}
	return err
}

func (c *Conn) one(ctx context.Context, cmd Command) error {
	errs, _ := c.Apply(ctx, []Command{cmd})
	return errs[0]
}

// setCertificate opens a transaction, or changes the one that is open. HAProxy 2.6
// changes the one of another file, too.
func setCertificate(file MapFile, pair certificate.Pair) Command {
	return Command{line: "set ssl cert " + file.path, payload: pair.PEM(), hidden: true, accept: func(reply string) bool {
		return strings.HasSuffix(reply, "Transaction created for certificate "+file.path+"!") ||
			strings.HasSuffix(reply, "Transaction updated for certificate "+file.path+"!")
	}}
}

func commitCertificate(file MapFile) Command {
	return Command{line: "commit ssl cert " + file.path, hidden: true, accept: func(reply string) bool {
		return strings.HasSuffix(reply, "Success!")
	}}
}

func abortCertificate(file MapFile) Command {
	return Command{line: "abort ssl cert " + file.path, hidden: true, accept: func(reply string) bool {
		return strings.HasPrefix(reply, "Transaction aborted for certificate ") || reply == "No ongoing transaction!"
	}}
}

// Unused says that HAProxy's configuration does not name this certificate file.
func (e *CommandError) Unused() bool {
	return strings.Contains(e.Reply, "certificate which is not referenced by the configuration")
}
