package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/hashicorp/go-hclog"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iri"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/journal"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/resident"
)

const serveUsage = `Usage: iri-node-check serve [flags]

Serves Consul's HTTP checks on loopback, so that Consul does not have to start a
process for each check:

  http://127.0.0.1:9295/check?address=http://10.10.0.110:14265&pow=true

The status is 200 (passing), 429 (warning) or 503 (critical), the body the line
that iri-node-check prints. The keys of the query are the long names of its
flags, see iri-node-check -h; flags without a value take true or false here.

Connections to nodes are kept open, concurrent identical checks share one
request, and only addresses that are registered in Consul are contacted.

Flags:
  --listen ADDRESS   listen on this loopback address (default 127.0.0.1:9295),
                     unless systemd passes a socket.
                     Example: --listen 127.0.0.1:9305
  --consul URL       Consul agent to read the registered addresses from
                     (default http://127.0.0.1:8500).
                     Example: --consul http://127.0.0.1:8501
  --token-file FILE  ACL token for it, with read access to the service and to
                     all Consul nodes.
                     Example: --token-file /etc/iri-node-check/consul_token
  --service NAME     service of the nodes (default iri). Example: --service iri2
  --state-file FILE  keep the registered addresses in this file, so that a
                     restart while Consul is down does not change any verdict.
                     Example: --state-file /var/lib/iri-node-check/registered
  --at-once N        check at most this many nodes at a time (default 256).
                     Example: --at-once 512
  --log-level LEVEL  trace, debug, info, warn or error (default info).
                     Example: --log-level debug
  --ca-file FILE     as for a single check, but for all nodes, e.g.
  --cert-file FILE   --ca-file /etc/ssl/iri-ca.pem --cert-file lb.pem
  --key-file FILE    --key-file lb.key
  --user-file FILE   --user-file /etc/iri-node-check/user
  -h, --help         show this help

/healthz responds with 200 while the program works, /readyz once the registered
addresses are known.

Exit codes: 0 stopped by a signal, 1 error, 3 wrong usage.
`

type serveOptions struct {
	listen, consul, tokenFile, service, stateFile, logLevel string
	atOnce                                                  int
	files                                                   files
}

func (o *serveOptions) register(flags *flag.FlagSet) {
	flags.StringVar(&o.listen, "listen", "127.0.0.1:9295", "")
	flags.StringVar(&o.consul, "consul", "http://127.0.0.1:8500", "")
	flags.StringVar(&o.tokenFile, "token-file", "", "")
	flags.StringVar(&o.service, "service", "iri", "")
	flags.StringVar(&o.stateFile, "state-file", "", "")
	flags.StringVar(&o.logLevel, "log-level", "info", "")
	flags.IntVar(&o.atOnce, "at-once", 256, "")
	o.files.register(flags)
}

func runServe(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, err := parseServe(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(stdout, serveUsage)
		return 0
	case err != nil:
		return wrongUsage(stderr, "serve -h", err)
	}
	connection, err := opts.files.connection()
	if err != nil {
		return wrongUsage(stderr, "serve -h", err)
	}
	if err := serve(ctx, opts, connection, journal.New("iri-node-check", stderr, opts.logLevel)); err != nil {
		_, _ = fmt.Fprintf(stderr, "iri-node-check: error: %v\n", err)
		return exitFailed
	}
	return 0
}

func parseServe(args []string) (serveOptions, error) {
	var o serveOptions
	flags := newFlags()
	o.register(flags)
	if err := flags.Parse(args); err != nil {
		return o, flagError(err)
	}
	addr, err := netip.ParseAddrPort(o.listen)
	consul, consulErr := url.Parse(o.consul)
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", hideCredentials(flags.Arg(0)))
	case err != nil || !addr.Addr().IsLoopback():
		return o, fmt.Errorf("--listen %q is not a loopback address and port such as 127.0.0.1:9295", o.listen)
	case consulErr != nil || (consul.Scheme != "http" && consul.Scheme != "https") || consul.Host == "":
		return o, fmt.Errorf("--consul %q is not a URL such as http://127.0.0.1:8500", hideCredentials(o.consul))
	case o.service == "":
		return o, errors.New("--service is empty; write for example --service iri")
	case o.atOnce < 1:
		return o, fmt.Errorf("--at-once %d: the minimum is 1; write for example --at-once 256", o.atOnce)
	case hclog.LevelFromString(o.logLevel) == hclog.NoLevel:
		return o, fmt.Errorf("--log-level %q is none of trace, debug, info, warn and error", o.logLevel)
	}
	return o, nil
}

// headerTimeout limits how long a client may take to send its request.
const headerTimeout = 5 * time.Second

func serve(ctx context.Context, opts serveOptions, connection iri.Options, log hclog.Logger) error {
	client, err := registry.NewClient(registry.Options{Address: opts.consul, TokenFile: opts.tokenFile, Service: opts.service})
	if err != nil {
		return err
	}
	listener, err := listen(ctx, opts.listen)
	if err != nil {
		return err
	}
	catalog := resident.NewCatalog(client, opts.stateFile, log)
	server := &http.Server{
		Handler:           resident.NewServer(catalog, connection, opts.atOnce),
		ReadHeaderTimeout: headerTimeout,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	group.Go(func() { catalog.Run(ctx) })
	group.Go(func() { watchdog(ctx, listener.Addr()) })
	ended := make(chan error, 1)
	group.Go(func() { ended <- server.Serve(listener) })
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
	log.Info("started", "version", version, "address", listener.Addr(), "consul", opts.consul, "service", opts.service)
	defer group.Wait()
	defer cancel()
	select {
	case err := <-ended:
		return fmt.Errorf("serve on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
		_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
		log.Info("stopping")
		return stop(server)
	}
}

// stop waits for running checks, because Consul takes a missing response as critical.
func stop(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), headerTimeout)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		return server.Close()
	}
	return nil
}

// watchdog notifies systemd while the program responds to its own requests.
func watchdog(ctx context.Context, addr net.Addr) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval == 0 {
		return
	}
	client := &http.Client{Timeout: interval / 4}
	ticker := time.NewTicker(interval / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		resp, err := client.Get(fmt.Sprintf("http://%s/healthz", addr))
		if err != nil {
			continue
		}
		_ = resp.Body.Close()
		_, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog)
	}
}
