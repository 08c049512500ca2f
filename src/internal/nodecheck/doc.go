// Package nodecheck judges whether an IRI node may get a wallet's requests.
//
// There are three verdicts: passing, a warning (the node gets a smaller share of
// the requests) and critical (it gets none). Settings is a check as its user writes
// it, by flags or in the query of a URL.
//
// Observe asks the node, Judge turns what it answered into findings, one for
// each rule, without any I/O, and Result.Line makes the one line of them that
// Consul keeps.
//
// The line is the same as long as the reason is: no latency, no milestone and
// no other number that moves is in it, because Consul wakes every watcher when
// the output of a check changes.
package nodecheck
