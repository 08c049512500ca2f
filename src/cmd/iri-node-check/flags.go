package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/nodecheck"
)

// What -w and -t take: IRI tells milliseconds, and no time must overflow.
const minSeconds, maxSeconds = 0.001, 1e6

type options struct {
	address    string
	skipVerify bool
	version    bool
	limits     nodecheck.Limits
}

// given is the flags as they were written.
type given struct {
	address, timeout, neighbours, minVersion, names, answerTime string
	pow, skipVerify, open, version                              bool
}

// parse returns flag.ErrHelp for -h. Its other errors name the flag and say what
// to write instead.
func parse(args []string) (options, error) {
	var g given
	flags := flag.NewFlagSet("iri-node-check", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&g.address, "a", "", "")
	flags.StringVar(&g.timeout, "t", "3", "")
	flags.StringVar(&g.neighbours, "n", "2", "")
	flags.StringVar(&g.minVersion, "m", "1.4.2.1", "")
	flags.StringVar(&g.names, "r", "IRI", "")
	flags.StringVar(&g.answerTime, "w", "1", "")
	flags.BoolVar(&g.pow, "p", false, "")
	flags.BoolVar(&g.skipVerify, "k", false, "")
	flags.BoolVar(&g.open, "i", false, "")
	flags.BoolVar(&g.version, "version", false, "")
	if err := flags.Parse(separate(args)); err != nil {
		return options{}, flagError(err)
	}
	if g.version {
		return options{version: true}, nil
	}
	if flags.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q: the node's address goes after -a", hideUser(flags.Arg(0)))
	}
	return g.options()
}

// separate splits what getopts, which the older check was written with, takes as
// one argument: -ik is -i -k, and -t5 is -t 5.
func separate(args []string) []string {
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
		default: // what follows is its value, also when it looks like a flag
			out = append(out, "-"+letters)
			if i++; i < len(args) {
				out = append(out, args[i])
			}
		}
	}
	return out
}

// flagError says it in our words: the flag package does not show what to write.
func flagError(err error) error {
	text := err.Error()
	if name, found := strings.CutPrefix(text, "flag needs an argument: "); found {
		return fmt.Errorf("%s: its value is missing", name)
	}
	if name, found := strings.CutPrefix(text, "flag provided but not defined: "); found {
		return fmt.Errorf("%s: there is no such flag", name)
	}
	return err
}

func (g given) options() (options, error) {
	opts := options{address: g.address, skipVerify: g.skipVerify}
	l := &opts.limits
	l.PoW, l.Limited, l.MaxBehind = g.pow, !g.open, 1
	if g.address == "" {
		return opts, errors.New("-a: the node's address is missing; write for example -a http://10.10.0.110:14265")
	}
	var err error
	if l.Timeout, err = seconds("-t", g.timeout, "3"); err != nil {
		return opts, err
	}
	if l.Timeout > nodecheck.WholeTime {
		return opts, fmt.Errorf("-t %s: write at most %.0f: Consul kills a check after 30 seconds", g.timeout, nodecheck.WholeTime.Seconds())
	}
	if l.MaxAnswerTime, err = seconds("-w", g.answerTime, "1"); err != nil {
		return opts, err
	}
	if l.MinNeighbours, err = strconv.ParseInt(g.neighbours, 10, 32); err != nil || l.MinNeighbours < 0 {
		return opts, fmt.Errorf("-n %q is not a number of neighbours; write for example -n 2", g.neighbours)
	}
	if l.MinVersion, err = nodecheck.ParseVersion(g.minVersion); err != nil {
		return opts, fmt.Errorf("-m: %w", err)
	}
	l.AppNames, err = names(g.names)
	return opts, err
}

func seconds(name, text, example string) (time.Duration, error) {
	value, err := strconv.ParseFloat(text, 64)
	// NaN is not equal to itself.
	if err != nil || value != value || value < minSeconds || value > maxSeconds {
		return 0, fmt.Errorf("%s %q is not a number of seconds from 0.001 on; write for example %s %s", name, text, name, example)
	}
	return time.Duration(value * float64(time.Second)), nil
}

func names(list string) ([]string, error) {
	var all []string
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name == "" {
			return nil, fmt.Errorf("-r %q has an empty name; write for example -r IRI or -r IRI,HORNET", list)
		}
		all = append(all, name)
	}
	return all, nil
}

// hideUser keeps a password that was written at the wrong place out of the logs.
func hideUser(text string) string {
	if at := strings.LastIndex(text, "@"); at >= 0 {
		return "***" + text[at:]
	}
	return text
}
