// Package socket connects to HAProxy's Unix sockets: it sends commands to the stats socket, many at a time, and matches
// each answer to its command; and it asks the master socket for a reload.
//
// It owns the wire format and knows nothing of what the commands mean: see package haproxy.
package socket
