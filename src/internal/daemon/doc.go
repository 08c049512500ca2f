// Package daemon is iri-lb-handler: its configuration, the wiring of the registry and the mirrors, the HTTP endpoints with
// the metrics, and what systemd is told.
package daemon
