package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iri"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/nodecheck"
)

const usage = `Usage: iri-node-check -a URL [flags]

Asks an IRI node how it is and says in one line, and by the exit code, whether
it may get requests. Made to be run by Consul as a script check.

Flags:
  -a URL       the node's API, with http:// or https://; required. A user and a
               password in it are used, and never shown.
  -t SECONDS   wait this long for the answer to one request, at most 25
               (default 3)
  -n N         the node needs this many neighbours (default 2)
  -m VERSION   the node's appVersion must not be older (default 1.4.2.1)
  -r NAME      the node's appName; several by commas (default IRI)
  -w SECONDS   an answer that took longer is too slow, e.g. 0.5 (default 1)
  -p           the node must allow PoW: attachToTangle is not refused
  -k           trust any TLS certificate
  -i           do not ask that getNeighbors, addNeighbors, removeNeighbors and
               attachToTangle (this one not with -p) are refused. Needed on the
               node itself and on hosts that it trusts: it refuses them nothing.
  -h           this help
  --version    print the version

A node is synchronised when its solid milestone is at most 1 behind the latest.
A node that has only just started, at its snapshot, gives a warning.

Exit codes: 0 passing, 1 warning, 2 critical, 3 wrong usage.

Examples:
  iri-node-check -a http://10.10.0.110:14265 -i
  iri-node-check -a https://[2001:db8::1]:14267 -k -p -n 3 -m 1.8.6 -w 0.5
  iri-node-check -a http://10.10.0.111:14265 -m 0.4.2 -r HORNET,HORNET-legacy
`

const exitUsage = 3

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(stdout, usage)
		return 0
	case err != nil:
		return wrongUsage(stderr, err)
	case opts.version:
		_, _ = fmt.Fprintln(stdout, "iri-node-check", version)
		return 0
	}
	client, err := iri.New(opts.address, iri.Options{SkipVerify: opts.skipVerify})
	if err != nil {
		return wrongUsage(stderr, fmt.Errorf("-a: %w", err))
	}
	defer client.Close()
	result := nodecheck.Check(ctx, client, client.Address(), opts.limits)
	_, _ = fmt.Fprintln(stdout, result.Line())
	return int(result.Verdict())
}

func wrongUsage(stderr io.Writer, err error) int {
	_, _ = fmt.Fprintf(stderr, "iri-node-check: error: %v\niri-node-check: hint: see iri-node-check -h\n", err)
	return exitUsage
}
