// Package haproxy holds HAProxy's values: the names of servers, their states, limits and addresses, the commands of the
// runtime API with the answers that mean success, and the parsers of what HAProxy says. It does no I/O; package socket
// does.
//
// Commands can only be made from typed values, so no text from outside can become a command of its own.
//
// Sources: HAProxy's management guide, section 9.3 (Unix Socket commands), and experiments with HAProxy 2.6 to 3.4 where
// the guide is silent.
package haproxy
