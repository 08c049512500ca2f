package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iritest"
)

const usage = `Usage: iri-fake-node [flags]

Serves IRI's HTTP API with invented contents. For tests only.

Flags:
  -listen ADDRESS    listen on this address (default 127.0.0.1:14265)
  -name NAME         name sent with every response as the header X-Fake-Node
                     (default: the address)
  -version VERSION   version to imitate (default 1.8.6), one of
                     %s
  -pow               permit attachToTangle (versions before 1.5.6 always do)
  -milestone N       latest milestone (default 1000)
  -behind N          number of milestones that are not solid yet (default 0)
  -trust-loopback    refuse nothing to clients on loopback, as IRI does
  -tls               serve https with a self-signed certificate
  -cert FILE         serve https with this certificate (PEM)
  -key FILE          and this key (PEM)
  -v                 log every request
  -h                 show this help

While it runs, from this host only:
  curl -X PUT -d '{"behind":5}' http://127.0.0.1:14265/_fake/state
  curl -X PUT -d '{"fault":"drop","faultCommands":["getNodeInfo"]}' http://127.0.0.1:14265/_fake/state
  curl http://127.0.0.1:14265/_fake/state      everything that can be set
  curl http://127.0.0.1:14265/_fake/counters   number of requests by command
  curl http://127.0.0.1:14265/_fake/forwarded  those that came through a proxy
Faults: %s

Exit codes: 0 stopped by a signal, 1 error, 3 wrong usage.
`

const (
	exitFailed = 1
	exitUsage  = 3
)

type options struct {
	listen, name, version, cert, key            string
	milestone, behind                           int64
	pow, trustLoopback, selfSigned, logRequests bool
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = fmt.Fprintf(stdout, usage, strings.Join(iritest.Versions(), ", "), strings.Join(iritest.Faults(), ", "))
		return 0
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "iri-fake-node: error: %v\niri-fake-node: hint: see iri-fake-node -h\n", err)
		return exitUsage
	}
	if err := serve(ctx, opts, stdout); err != nil {
		_, _ = fmt.Fprintf(stderr, "iri-fake-node: error: %v\n", err)
		return exitFailed
	}
	return 0
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("iri-fake-node", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.listen, "listen", "127.0.0.1:14265", "")
	flags.StringVar(&o.name, "name", "", "")
	flags.StringVar(&o.version, "version", "1.8.6", "")
	flags.BoolVar(&o.pow, "pow", false, "")
	flags.Int64Var(&o.milestone, "milestone", 1000, "")
	flags.Int64Var(&o.behind, "behind", 0, "")
	flags.BoolVar(&o.trustLoopback, "trust-loopback", false, "")
	flags.BoolVar(&o.selfSigned, "tls", false, "")
	flags.StringVar(&o.cert, "cert", "", "")
	flags.StringVar(&o.key, "key", "", "")
	flags.BoolVar(&o.logRequests, "v", false, "")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case !slices.Contains(iritest.Versions(), o.version):
		return o, fmt.Errorf("-version %q is unknown (known: %s)", o.version, strings.Join(iritest.Versions(), ", "))
	case (o.cert == "") != (o.key == ""):
		return o, errors.New("-cert and -key must be given together")
	case o.cert != "" && o.selfSigned:
		return o, errors.New("-tls creates a certificate: omit it if -cert is given")
	}
	if o.name == "" {
		o.name = o.listen
	}
	return o, nil
}

func (o options) node() *iritest.Node {
	return iritest.New(iritest.Version(o.version), iritest.Name(o.name), iritest.With(func(s *iritest.State) {
		s.Milestone, s.Behind, s.TrustLoopback = o.milestone, o.behind, o.trustLoopback
		s.Snapshot = max(0, o.milestone-o.behind-100)
		s.PoW = s.PoW || o.pow
	}))
}

func serve(ctx context.Context, opts options, stdout io.Writer) error {
	log := hclog.New(&hclog.LoggerOptions{Name: opts.name, Output: stdout, Level: hclog.Info})
	config, err := opts.tls()
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", opts.listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", opts.listen, err)
	}
	if config != nil {
		listener = tls.NewListener(listener, config)
	}
	server := &http.Server{
		Handler:           handler(opts, log),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.StandardLogger(&hclog.StandardLoggerOptions{InferLevels: true}),
	}
	log.Info("listening", "address", listener.Addr(), "version", opts.version, "tls", config != nil)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve on %s: %w", opts.listen, err)
	case <-ctx.Done():
		return server.Close()
	}
}

func handler(opts options, log hclog.Logger) http.Handler {
	node := opts.node()
	mux := http.NewServeMux()
	mux.Handle("/", node)
	mux.Handle("/_fake/", node.Control())
	if !opts.logRequests {
		return mux
	}
	return logRequests(mux, log)
}
