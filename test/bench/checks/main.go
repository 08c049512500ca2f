// Command checks measures the cost of health checks: as a process per check, compared with curl sending the same
// request, and by the resident program. It writes the results into docs/performance.md.
//
// Usage: make bench-check
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

type options struct {
	bin, write    string
	runs, nodes   int
	interval, run time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "build", "directory of the built programs")
	flag.StringVar(&o.write, "write", "", "write the results between the markers of this file; refused with uncommitted changes")
	flag.IntVar(&o.runs, "runs", 300, "number of runs of curl and of the check")
	flag.IntVar(&o.nodes, "nodes", 2000, "number of nodes")
	flag.DurationVar(&o.interval, "interval", 30*time.Second, "interval between two checks of a node")
	flag.DurationVar(&o.run, "for", 60*time.Second, "duration of the measurement of the resident program, after one interval of warm-up")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench-check: error:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if o.write != "" {
		if err := requireCommittedTree(ctx, o.write); err != nil {
			return err
		}
	}
	nodes, err := startNodes(ctx, o)
	if err != nil {
		return err
	}
	defer nodes.stop()
	single, err := measureProcesses(ctx, o, nodes.urls[0])
	if err != nil {
		return err
	}
	resident, err := measureResident(ctx, o, nodes.urls)
	if err != nil {
		return err
	}
	text := report(o, single, resident)
	fmt.Print(text)
	if o.write == "" {
		return nil
	}
	return writeBetween(o.write, text)
}

const (
	begin = "<!-- bench-check -->\n"
	end   = "<!-- /bench-check -->\n"
)

// writeBetween replaces the text between the markers, or appends it with markers. A missing file is created.
func writeBetween(path, text string) error {
	old, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		old, err = []byte("# Performance\n"), os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err != nil {
		return err
	}
	before, rest, found := bytes.Cut(old, []byte(begin))
	_, after, closed := bytes.Cut(rest, []byte(end))
	switch {
	case !found:
		before = append(bytes.TrimRight(old, "\n"), "\n\n"...)
	case !closed:
		return fmt.Errorf("%s contains %q but not %q", path, begin, end)
	}
	return os.WriteFile(path, bytes.Join([][]byte{before, []byte(begin), []byte(text), []byte(end), after}, nil), 0o644)
}
