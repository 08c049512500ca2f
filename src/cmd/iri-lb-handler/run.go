package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/certificate"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/daemon"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/journal"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/preflight"
)

const usage = `Usage: iri-lb-handler COMMAND [flags]

Mirrors the nodes that are registered in Consul into HAProxy's slots.

Commands:
  run                stay and apply every change at once (the daemon)
  sync               compare once, change what differs, and exit
  plan               print what sync would change, and change nothing
  status             print nodes, slots and states; with --cluster what all hosts
                     say, and where they differ; with --json for programs
  node               add, remove or list nodes in Consul's catalog (see node --help)
  reload             reload HAProxy without losing a slot (systemctl reload haproxy); the unit adds -- and the command
                     that starts HAProxy's container, which is replaced if it was started otherwise
  certificate        give HAProxy the certificate of --cert and --key without a reload
  check-config       check the configuration file and exit
  check-certificate  check --cert and --key as certificate does, and change nothing
  check-host         for the playbook: try the ports, HAProxy's configuration and
                     the nodes that standard input describes
  version            print the version

Flags:
  --config FILE    configuration file (default ` + daemon.DefaultConfigPath + `)
  --timeout TIME   give up after this time; all but run (default 30s, e.g. 90s)
  --cluster        status of all hosts
  --json           status as JSON
  --cert FILE      the certificate with its chain, in PEM form
  --key FILE       the certificate's private key, in PEM form, without a password

Examples:
  iri-lb-handler status
  iri-lb-handler status --cluster
  iri-lb-handler plan && echo 'HAProxy is in line with Consul'
  iri-lb-handler sync --timeout 10s
  iri-lb-handler certificate --cert fullchain.pem --key privkey.pem
  curl -s http://127.0.0.1:9294/readyz

Exit codes: 0 done, 1 failed, 2 there is something to change (plan), 3 wrong usage.
`

const (
	exitFailed  = 1
	exitChanges = 2
	exitUsage   = 3
)

var commands = []string{
	"run", "sync", "plan", "status", "node", "reload", "certificate", "check-config", "check-certificate", "check-host", "version",
}

type options struct {
	command, config string
	cert, key       string
	timeout         time.Duration
	timeoutSet      bool
	json, cluster   bool
	// container is the command of HAProxy's container, for reload.
	container []string
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "node" {
		return runNode(ctx, args[1:], os.Stdin, stdout, stderr)
	}
	opts, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(stdout, usage)
		return 0
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "iri-lb-handler: error: %v\niri-lb-handler: hint: see iri-lb-handler --help\n", err)
		return exitUsage
	case opts.command == "version":
		_, _ = fmt.Fprintln(stdout, "iri-lb-handler", version)
		return 0
	}
	switch err := execute(ctx, opts, stdout, stderr); {
	case errors.Is(err, errChanges):
		return exitChanges
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "iri-lb-handler: error: %v\n", err)
		hintAtRoot(stderr, err, opts.command)
		return exitFailed
	}
	return 0
}

func hintAtRoot(stderr io.Writer, err error, command string) {
	if errors.Is(err, fs.ErrPermission) {
		_, _ = fmt.Fprintf(stderr, "iri-lb-handler: hint: run it as root: sudo iri-lb-handler %s\n", command)
	}
}

// errChanges is plan's answer when there is something to do.
var errChanges = errors.New("there is something to change")

func parse(args []string) (options, error) {
	opts := options{}
	flags := flag.NewFlagSet("iri-lb-handler", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&opts.config, "config", daemon.DefaultConfigPath, "")
	flags.DurationVar(&opts.timeout, "timeout", 30*time.Second, "")
	flags.BoolVar(&opts.json, "json", false, "")
	flags.BoolVar(&opts.cluster, "cluster", false, "")
	flags.StringVar(&opts.cert, "cert", "", "")
	flags.StringVar(&opts.key, "key", "", "")
	if len(args) == 0 {
		return opts, fmt.Errorf("no command given (%s)", strings.Join(commands, ", "))
	}
	opts.command, args = args[0], args[1:]
	switch opts.command {
	case "-h", "--help", "help":
		return opts, flag.ErrHelp
	case "--version":
		opts.command = "version"
	}
	if !slices.Contains(commands, opts.command) {
		return opts, fmt.Errorf("unknown command %q (known: %s)", opts.command, strings.Join(commands, ", "))
	}
	if err := flags.Parse(args); err != nil {
		return opts, err
	}
	if opts.command == "reload" && len(args) > flags.NArg() && flags.NArg() > 0 && args[len(args)-flags.NArg()-1] == "--" {
		opts.container = flags.Args()
	} else if flags.NArg() > 0 {
		return opts, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	flags.Visit(func(f *flag.Flag) { opts.timeoutSet = opts.timeoutSet || f.Name == "timeout" })
	return opts, opts.check()
}

// check is for what the flags package cannot say.
func (o options) check() error {
	pair := o.command == "certificate" || o.command == "check-certificate"
	switch {
	case o.command == "run" && o.timeoutSet:
		return errors.New("--timeout is not for run, which never gives up")
	case o.json && o.command != "status":
		return errors.New("--json is for status only")
	case o.cluster && o.command != "status":
		return errors.New("--cluster is for status only")
	case !pair && o.cert+o.key != "":
		return errors.New("--cert and --key are for certificate and check-certificate only")
	case pair && (o.cert == "" || o.key == ""):
		return fmt.Errorf("%s needs --cert FILE and --key FILE", o.command)
	case o.timeout <= 0:
		return fmt.Errorf("--timeout %s is not a positive time", o.timeout)
	}
	return nil
}

func execute(ctx context.Context, opts options, stdout, stderr io.Writer) error {
	switch opts.command {
	case "check-certificate":
		return checkCertificate(opts, stdout)
	case "check-host":
		return checkHost(ctx, opts)
	}
	cfg, err := daemon.LoadConfig(opts.config)
	if err != nil {
		return err
	}
	if opts.command == "check-config" {
		_, _ = fmt.Fprintf(stdout, "%s is valid\n", opts.config)
		return nil
	}
	log := journal.New("iri-lb-handler", stderr, cfg.LogLevel)
	if opts.command != "run" {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, opts.timeout)
		defer cancel()
	}
	if opts.command == "certificate" { // Consul and its token are not needed
		return daemon.ReplaceCertificate(ctx, cfg, log, opts.cert, opts.key)
	}
	d, err := daemon.New(cfg, log, clockwork.NewRealClock())
	if err != nil {
		return err
	}
	d.Version = version
	switch opts.command {
	case "run":
		return d.Run(ctx)
	case "reload":
		return d.Reload(ctx, opts.container)
	case "plan":
		changes, err := d.Plan(ctx, stdout)
		if err == nil && changes {
			err = errChanges
		}
		return err
	case "status":
		return status(ctx, d, opts, stdout)
	}
	return d.Sync(ctx)
}

func checkCertificate(opts options, stdout io.Writer) error {
	pair, err := certificate.Load(opts.cert, opts.key, time.Now())
	if err == nil {
		_, _ = fmt.Fprintf(stdout, "%s and %s are valid: %s, until %s\n", opts.cert, opts.key, pair, pair.Leaf().NotAfter.UTC().Format(time.RFC3339))
	}
	return err
}

func checkHost(ctx context.Context, opts options) error {
	ctx, cancel := context.WithTimeout(ctx, opts.timeout)
	defer cancel()
	req, err := preflight.Read(os.Stdin)
	if err != nil {
		return err
	}
	return preflight.Run(ctx, req)
}

// shown is what status prints, of this host or of all.
type shown interface {
	WriteTable(w io.Writer) error
	WriteJSON(w io.Writer) error
}

func status(ctx context.Context, d *daemon.Daemon, opts options, stdout io.Writer) error {
	var st shown
	var err error
	if opts.cluster {
		st, err = d.Cluster(ctx)
	} else {
		st, err = d.Status(ctx)
	}
	if opts.json {
		return errors.Join(err, st.WriteJSON(stdout))
	}
	return errors.Join(err, st.WriteTable(stdout))
}
