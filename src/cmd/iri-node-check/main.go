// Command iri-node-check is a Consul check that decides whether an IRI node may serve requests.
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
	// net/http logs misbehaviour of servers to standard error, which Consul includes in the output of the check.
	log.SetOutput(io.Discard)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if isServe(os.Args[1:]) {
		// The server is idle most of the time; further threads would mostly be woken to find nothing to do.
		runtime.GOMAXPROCS(1)
	}
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
