// Command iri-lb-handler mirrors a service of Consul into HAProxy's slots.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// version is set at build time.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
