// Package registry reads the nodes that are registered in Consul, and finds the addresses of those that are registered by
// name.
//
// It owns the blocking query and the reading of a service's address, tags and checks into types. Nothing that Consul says is
// trusted: what cannot be parsed is reported and skipped, and an answer that is odd as a whole is an error and never an empty
// list.
package registry
