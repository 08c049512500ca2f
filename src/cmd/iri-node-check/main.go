// Command iri-node-check tells Consul whether an IRI node may get requests.
package main

import (
	"context"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
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
	if !serving(os.Args[1:]) {
		frugal()
	}
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// frugal suits a process that lives for some milliseconds, 67 times a second at
// 2000 nodes: most of what the garbage collector and a second thread do would be
// their own start and end. The limit is for a node that answers 1 MiB each time.
func frugal() {
	runtime.GOMAXPROCS(1)
	debug.SetMemoryLimit(64 << 20)
	debug.SetGCPercent(-1)
}
