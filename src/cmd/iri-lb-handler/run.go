package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/handler"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/journal"
)

const usage = `Usage: iri-lb-handler COMMAND [flags]

Mirrors the nodes that are registered in Consul into HAProxy's slots.

Commands:
  run            stay and apply every change at once (the daemon)
  sync           compare once, change what differs, and exit
  plan           print what sync would change, and change nothing
  status         print nodes, slots and states; with --json for programs
  reload         reload HAProxy without losing a slot (systemctl reload haproxy)
  check-config   check the configuration file and exit
  version        print the version

Flags:
  --config FILE    configuration file (default ` + handler.DefaultConfigPath + `)
  --timeout TIME   give up after this time; all but run (default 30s, e.g. 90s)
  --json           status as JSON

Examples:
  iri-lb-handler status
  iri-lb-handler plan && echo 'HAProxy is in line with Consul'
  iri-lb-handler sync --timeout 10s
  curl -s http://127.0.0.1:9294/readyz

Exit codes: 0 done, 1 failed, 2 there is something to change (plan), 3 wrong usage.
`

const (
	exitFailed  = 1
	exitChanges = 2
	exitUsage   = 3
)

type options struct {
	command, config string
	timeout         time.Duration
	json            bool
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
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
		return exitFailed
	}
	return 0
}

// errChanges is plan's answer when there is something to do.
var errChanges = errors.New("there is something to change")

func parse(args []string) (options, error) {
	opts := options{}
	flags := flag.NewFlagSet("iri-lb-handler", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&opts.config, "config", handler.DefaultConfigPath, "")
	flags.DurationVar(&opts.timeout, "timeout", 30*time.Second, "")
	flags.BoolVar(&opts.json, "json", false, "")
	if len(args) == 0 {
		return opts, errors.New("no command given (run, sync, plan, status, reload, check-config or version)")
	}
	opts.command, args = args[0], args[1:]
	switch opts.command {
	case "-h", "--help", "help":
		return opts, flag.ErrHelp
	case "--version":
		opts.command = "version"
	case "run", "sync", "plan", "status", "reload", "check-config", "version":
	default:
		return opts, fmt.Errorf("unknown command %q (known: run, sync, plan, status, reload, check-config, version)", opts.command)
	}
	if err := flags.Parse(args); err != nil {
		return opts, err
	}
	if flags.NArg() > 0 {
		return opts, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if opts.json && opts.command != "status" {
		return opts, errors.New("--json is for status only")
	}
	if opts.timeout <= 0 {
		return opts, fmt.Errorf("--timeout %s is not a positive time", opts.timeout)
	}
	return opts, nil
}

func execute(ctx context.Context, opts options, stdout, stderr io.Writer) error {
	cfg, err := handler.LoadConfig(opts.config)
	if err != nil {
		return err
	}
	if opts.command == "check-config" {
		_, _ = fmt.Fprintf(stdout, "%s is valid\n", opts.config)
		return nil
	}
	h, err := handler.New(cfg, journal.New("iri-lb-handler", stderr, cfg.LogLevel))
	if err != nil {
		return err
	}
	if opts.command == "run" {
		return h.Run(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, opts.timeout)
	defer cancel()
	switch opts.command {
	case "reload":
		return h.Reload(ctx)
	case "plan":
		changes, err := h.Plan(ctx, stdout)
		if err == nil && changes {
			err = errChanges
		}
		return err
	case "status":
		return status(ctx, h, opts.json, stdout)
	}
	return h.Sync(ctx)
}

func status(ctx context.Context, h *handler.Handler, asJSON bool, stdout io.Writer) error {
	st, err := h.Status(ctx)
	write := st.WriteTable
	if asJSON {
		write = func(w io.Writer) error {
			enc := json.NewEncoder(w)
			enc.SetIndent("", "  ")
			return enc.Encode(st)
		}
	}
	return errors.Join(err, write(stdout))
}
