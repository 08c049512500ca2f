package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iri"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/nodecheck"
)

const (
	exitFailed = 1
	exitUsage  = 3
)

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if isServe(args) {
		return runServe(ctx, args[1:], stdout, stderr)
	}
	opts, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(stdout, usage)
		return 0
	case err != nil:
		return wrongUsage(stderr, "-h", err)
	case opts.version:
		_, _ = fmt.Fprintln(stdout, "iri-node-check", version)
		return 0
	}
	client, err := opts.client()
	if err != nil {
		return wrongUsage(stderr, "-h", err)
	}
	defer client.Close()
	result := nodecheck.Check(ctx, client, client.Address(), opts.request.Limits)
	opts.print(stdout, result)
	return int(result.Verdict())
}

func isServe(args []string) bool { return len(args) > 0 && args[0] == "serve" }

func (o options) client() (*iri.Client, error) {
	connection, err := o.files.connection()
	if err != nil {
		return nil, err
	}
	connection.SkipVerify, connection.ServerName = o.request.SkipVerify, o.request.ServerName
	client, err := iri.New(o.request.Address, connection)
	if err != nil {
		return nil, fmt.Errorf("-a: %w", err)
	}
	return client, nil
}

func (o options) print(w io.Writer, result nodecheck.Result) {
	switch {
	case o.json:
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		_ = encoder.Encode(result.Report())
	case o.explain:
		_, _ = io.WriteString(w, result.Explain())
	default:
		_, _ = fmt.Fprintln(w, result.Line())
	}
}

func wrongUsage(stderr io.Writer, help string, err error) int {
	_, _ = fmt.Fprintf(stderr, "iri-node-check: error: %v\niri-node-check: hint: see iri-node-check %s\n", err, help)
	return exitUsage
}
