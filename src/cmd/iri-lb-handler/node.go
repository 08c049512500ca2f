package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/catalog"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/daemon"
)

const nodeUsage = `Usage: iri-lb-handler node COMMAND [flags]

Registers nodes in Consul's catalog, from any host. They do not depend on the
host they were registered at; every load balancer checks them itself.

Commands:
  add ADDRESS[:PORT]  register a node, or replace the registration with its ID
  remove NODE         deregister a node, given as its ID or ADDRESS[:PORT]
  list                print all nodes, and where they are registered
  apply FILE          register, change and deregister nodes until those of
                      iri_nodes are the ones in this JSON list (-: standard input)

Flags of add:
  --id ID             ID of the node (default ADDRESS:PORT)
  --tag TAG           a tag such as haproxy.pow=true; may be given several times
  --check OPTIONS     options of the health check, as for the resident check:
                      skip-limited=true&pow=true&min-version=1.8.6
  --interval TIME     how often the node is checked, 1s to 1h (default 30s)

Other flags:
  --json              list as JSON
  --config FILE       configuration file (default ` + daemon.DefaultConfigPath + `)
  --timeout TIME      give up after this time (default 30s)

Consul's token is read from the environment, as root:
  export CONSUL_HTTP_TOKEN=$(cat /etc/consul/consul_master_token)

Examples:
  iri-lb-handler node add 10.100.0.10 --check skip-limited=true
  iri-lb-handler node add node1.example.org:443 --tag haproxy.scheme=https --tag haproxy.pow=true
  iri-lb-handler node remove 10.100.0.10

Exit codes: 0 done, 1 failed, 3 wrong usage.
`

// nodeArguments are the commands, with the name of their argument.
var nodeArguments = map[string]string{"add": "ADDRESS[:PORT]", "remove": "NODE", "list": "", "apply": "FILE"}

// nodeOptions are the command line of `iri-lb-handler node`.
type nodeOptions struct {
	command, argument string
	node              catalog.Node
	json              bool
	config            string
	timeout           time.Duration
}

func runNode(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	opts, err := parseNode(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(stdout, nodeUsage)
		return 0
	case err != nil:
		_, _ = fmt.Fprintf(stderr, "iri-lb-handler: error: %v\niri-lb-handler: hint: see iri-lb-handler node --help\n", err)
		return exitUsage
	}
	if err := opts.execute(ctx, stdin, stdout); err != nil {
		_, _ = fmt.Fprintf(stderr, "iri-lb-handler: error: %v\n", err)
		hintAtRoot(stderr, err, "node "+opts.command)
		return exitFailed
	}
	return 0
}

func parseNode(args []string) (nodeOptions, error) {
	var opts nodeOptions
	flags := flag.NewFlagSet("iri-lb-handler node", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&opts.node.ID, "id", "", "")
	flags.Func("tag", "", func(tag string) error { opts.node.Tags = append(opts.node.Tags, tag); return nil })
	flags.StringVar(&opts.node.Check, "check", "", "")
	flags.StringVar(&opts.node.Interval, "interval", "", "")
	flags.BoolVar(&opts.json, "json", false, "")
	flags.StringVar(&opts.config, "config", daemon.DefaultConfigPath, "")
	flags.DurationVar(&opts.timeout, "timeout", 30*time.Second, "")
	// Flags may stand before, between and after the arguments.
	var arguments []string
	for {
		if err := flags.Parse(args); err != nil {
			return opts, err
		}
		if args = flags.Args(); len(args) == 0 {
			break
		}
		arguments, args = append(arguments, args[0]), args[1:]
	}
	if err := opts.take(arguments); err != nil {
		return opts, err
	}
	return opts, opts.check(flags)
}

// take reads the command and its argument.
func (o *nodeOptions) take(arguments []string) error {
	const known = "add, remove, list, apply"
	if len(arguments) == 0 {
		return fmt.Errorf("no command of node given (%s)", known)
	}
	o.command, arguments = arguments[0], arguments[1:]
	argument, ok := nodeArguments[o.command]
	switch {
	case o.command == "help":
		return flag.ErrHelp
	case !ok:
		return fmt.Errorf("unknown command %q of node (known: %s)", o.command, known)
	case argument == "" && len(arguments) > 0:
		return fmt.Errorf("unexpected argument %q", arguments[0])
	case argument != "" && len(arguments) == 0:
		return fmt.Errorf("node %s needs an argument: node %s %s", o.command, o.command, argument)
	case len(arguments) > 1:
		return fmt.Errorf("unexpected argument %q: node %s takes one", arguments[1], o.command)
	}
	o.argument = strings.Join(arguments, "")
	return nil
}

// check is for what the flags package cannot say.
func (o *nodeOptions) check(flags *flag.FlagSet) error {
	var err error
	flags.Visit(func(f *flag.Flag) {
		switch {
		case slices.Contains([]string{"id", "tag", "check", "interval"}, f.Name) && o.command != "add":
			err = fmt.Errorf("--%s is for node add only", f.Name)
		case f.Name == "json" && o.command != "list":
			err = errors.New("--json is for node list only")
		case f.Name == "timeout" && o.timeout <= 0:
			err = fmt.Errorf("--timeout %s is not a positive time", o.timeout)
		}
	})
	if err == nil && o.command == "add" {
		o.node.Address = o.argument
		o.node, err = o.node.Complete()
	}
	return err
}

func (o *nodeOptions) execute(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	cfg, err := daemon.LoadConfig(o.config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	client, err := catalog.New(ctx, cfg.RegistryOptions(), os.Getenv(catalog.TokenVariable))
	if err != nil {
		return err
	}
	switch o.command {
	case "add":
		change, err := client.Add(ctx, o.node)
		if err == nil {
			report(stdout, client, change)
		}
		return err
	case "remove":
		change, err := client.Remove(ctx, o.argument)
		if err == nil {
			report(stdout, client, change)
		}
		return err
	case "apply":
		return applyNodes(ctx, client, o.argument, stdin, stdout)
	}
	nodes, err := client.List(ctx)
	if err != nil {
		return err
	}
	return listNodes(stdout, nodes, o.json)
}

// report says what was done, and what the user may not expect.
func report(w io.Writer, client *catalog.Client, c catalog.Change) {
	_, _ = fmt.Fprintf(w, "%s %s\n", c.What, c.ID)
	if c.Managed && c.What != catalog.Unchanged {
		_, _ = fmt.Fprintln(w, "note: it is in iri_nodes; change it there too, or the next run of the playbook undoes this")
	}
	for _, agent := range c.Elsewhere {
		_, _ = fmt.Fprintf(w, "note: the node is registered at the agent %s as well; to deregister it there, on that host: %s\n",
			agent, client.DeregisterCommand(c.ID))
	}
}

func applyNodes(ctx context.Context, client *catalog.Client, file string, stdin io.Reader, stdout io.Writer) error {
	name, read := file, func() ([]byte, error) { return os.ReadFile(file) }
	if file == "-" {
		name, read = "standard input", func() ([]byte, error) { return io.ReadAll(stdin) }
	}
	text, err := read()
	if err != nil {
		return err
	}
	nodes, err := catalog.ParseList(text)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	changes, err := client.Apply(ctx, nodes)
	if err != nil {
		return err
	}
	for _, c := range changes {
		_, _ = fmt.Fprintf(stdout, "%s %s\n", c.What, c.ID)
	}
	return nil
}

func listNodes(w io.Writer, nodes []catalog.Registered, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false) // for the & in the options of a check
		return encoder.Encode(nodes)
	}
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(out, "ID\tADDRESS\tPORT\tREGISTERED AT\tTAGS\tCHECK\tINTERVAL")
	for _, n := range nodes {
		at := n.At
		if n.Managed {
			at += " (iri_nodes)"
		}
		_, _ = fmt.Fprintf(out, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n", n.ID, n.Address, n.Port, at,
			orDash(strings.Join(n.Tags, " ")), orDash(n.Check), orDash(n.Interval))
	}
	return out.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
