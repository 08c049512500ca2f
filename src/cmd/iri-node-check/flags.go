package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iri"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/nodecheck"
)

type options struct {
	request       nodecheck.Request
	files         files
	json, explain bool
	version       bool
}

// files are the flags that name files: their contents are secret, or too long for a command line.
type files struct{ ca, cert, key, user string }

func (f *files) register(flags *flag.FlagSet) {
	flags.StringVar(&f.ca, "ca-file", "", "")
	flags.StringVar(&f.cert, "cert-file", "", "")
	flags.StringVar(&f.key, "key-file", "", "")
	flags.StringVar(&f.user, "user-file", "", "")
}

// connection reads the files. Errors name the flag and never contain a secret.
func (f files) connection() (iri.Options, error) {
	var (
		opts iri.Options
		err  error
	)
	if (f.cert == "") != (f.key == "") {
		return opts, errors.New("--cert-file and --key-file must be given together")
	}
	if f.ca != "" {
		if opts.Roots, err = iri.ReadRoots(f.ca); err != nil {
			return opts, fmt.Errorf("--ca-file: %w", err)
		}
	}
	if f.cert != "" {
		if opts.Certificate, err = iri.ReadCertificate(f.cert, f.key); err != nil {
			return opts, fmt.Errorf("--cert-file: %w", err)
		}
	}
	if f.user != "" {
		if opts.User, opts.Password, err = iri.ReadUser(f.user); err != nil {
			return opts, fmt.Errorf("--user-file: %w", err)
		}
	}
	return opts, nil
}

// parse returns flag.ErrHelp for -h. Other errors name the flag and say what to write instead.
func parse(args []string) (options, error) {
	var opts options
	settings := nodecheck.NewSettings()
	flags := newFlags()
	for _, s := range settings.All() {
		for _, name := range []string{s.Name, s.Letter} {
			switch {
			case name == "":
			case s.On != nil:
				flags.BoolVar(s.On, name, false, "")
			default:
				flags.StringVar(s.Text, name, *s.Text, "")
			}
		}
	}
	opts.files.register(flags)
	flags.BoolVar(&opts.json, "json", false, "")
	flags.BoolVar(&opts.explain, "explain", false, "")
	flags.BoolVar(&opts.version, "version", false, "")
	if err := flags.Parse(splitShortFlags(args)); err != nil {
		return opts, flagError(err)
	}
	if opts.version {
		return opts, nil
	}
	if flags.NArg() > 0 {
		return opts, fmt.Errorf("unexpected argument %q: write -a before the address of the node", hideCredentials(flags.Arg(0)))
	}
	if opts.json && opts.explain {
		return opts, errors.New("--json and --explain are mutually exclusive: --json contains everything that --explain shows")
	}
	var err error
	opts.request, err = settings.Request()
	return opts, err
}

func newFlags() *flag.FlagSet {
	flags := flag.NewFlagSet("iri-node-check", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	return flags
}

// splitShortFlags splits combined short flags as getopts does, which the shell script that this program replaces
// used: -ik is -i -k, and -t5 is -t 5.
func splitShortFlags(args []string) []string {
	const withValue, without = "atnmrw", "pkih"
	var out []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if len(arg) < 2 || arg[0] != '-' || strings.HasPrefix(arg, "--") {
			out = append(out, arg)
			continue
		}
		letters := arg[1:]
		for len(letters) > 1 && strings.ContainsRune(without, rune(letters[0])) {
			out, letters = append(out, "-"+letters[:1]), letters[1:]
		}
		switch {
		case !strings.Contains(withValue, letters[:1]):
			out = append(out, "-"+letters)
		case len(letters) > 1:
			out = append(out, "-"+letters[:1], letters[1:])
		default: // the next argument is the value, even if it looks like a flag
			out = append(out, "-"+letters)
			if i++; i < len(args) {
				out = append(out, args[i])
			}
		}
	}
	return out
}

// flagError rewrites the errors of package flag in the form of our own.
func flagError(err error) error {
	text := err.Error()
	if name, found := strings.CutPrefix(text, "flag needs an argument: "); found {
		return fmt.Errorf("%s: the value is missing", dashes(name))
	}
	if name, found := strings.CutPrefix(text, "flag provided but not defined: "); found {
		return fmt.Errorf("%s: unknown flag", dashes(name))
	}
	return err
}

// dashes writes a flag as the help does; package flag reports it with one dash.
func dashes(name string) string {
	if len(name) > 2 && !strings.HasPrefix(name, "--") {
		return "-" + name
	}
	return name
}

// hideCredentials keeps a password in a misplaced address out of the logs.
func hideCredentials(text string) string {
	if at := strings.LastIndex(text, "@"); at >= 0 {
		return "***" + text[at:]
	}
	return text
}
