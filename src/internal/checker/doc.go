// Package checker checks nodes from this host.
//
// A [Runner] runs single checks, a limited number at a time. A [Checker] runs those of the nodes that are registered in
// Consul's catalog, where no agent of Consul's checks them, each at its own interval, and that of a new node once, before
// Consul's agent does.
package checker
