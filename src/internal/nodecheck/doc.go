// Package nodecheck decides whether an IRI node may serve requests.
//
// There are three verdicts: passing, warning (the node gets a smaller share of the requests) and critical (it gets
// none). [Settings] is a check as a user writes it, as flags or as the query of a URL.
//
// [Observe] sends the requests to the node. [Judge] turns its responses into findings, one per rule, without any I/O.
// [Result.Line] summarises them in the line that becomes the output of the Consul check.
//
// The line stays the same as long as the reason does. It contains no latency, milestone index or other value that
// varies, because Consul wakes all watchers of a check whose output changes.
package nodecheck
