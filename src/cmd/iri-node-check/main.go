// Command iri-node-check tells Consul whether an IRI node may get requests.
package main

import (
	"context"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

// version is set at build time.
var version = "unknown"

func main() {
	// net/http logs what odd servers do, and Consul takes standard error for a
	// part of the check's output.
	log.SetOutput(io.Discard)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if serving(os.Args[1:]) {
		// It waits far more than it works: a second thread would mostly be woken to
		// find nothing to do. A single check has no time to win that back.
		runtime.GOMAXPROCS(1)
	}
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
