// Package nodecheck judges whether an IRI node may get a wallet's requests.
//
// Observe asks the node, Judge turns what it answered into findings, one for
// each rule, without any I/O, and Result.Line makes the one line of them that
// Consul keeps.
//
// The line is the same as long as the reason is: no latency, no milestone and
// no other number that moves is in it, because Consul wakes every watcher when
// the output of a check changes.
package nodecheck
