// Command checks measures the cost of health checks: as a process per check, compared with curl sending the same
// request, by the resident program, and by the handler for nodes of the catalog. It writes the results into
// docs/performance.md, or prints them with REPORT=-.
//
// Usage: make bench-check
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// page is where the results go.
var page = harness.Report{Page: "docs/performance.md", Section: "bench-check"}

type options struct {
	bin           string
	runs, nodes   int
	interval, run time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "build", "directory of the built programs")
	flag.IntVar(&o.runs, "runs", 300, "number of runs of curl and of the check")
	flag.IntVar(&o.nodes, "nodes", 2000, "number of nodes")
	flag.DurationVar(&o.interval, "interval", 30*time.Second, "interval between two checks of a node")
	flag.DurationVar(&o.run, "for", 60*time.Second, "duration of the measurement of the resident program and of the handler, each after one interval of warm-up")
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
	if err := page.Begin(); err != nil {
		return err
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
	handler, err := measureHandler(ctx, o, nodes.urls)
	if err != nil {
		return err
	}
	text := report(o, single, resident, handler)
	if err := page.Write(text); err != nil {
		fmt.Print(text) // so that the run was not for nothing
		return err
	}
	return nil
}
