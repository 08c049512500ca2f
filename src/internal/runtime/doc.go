// Package runtime speaks HAProxy's runtime API: it connects to a stats socket,
// sends commands, matches every answer to its command and parses what HAProxy
// tells about its servers.
//
// It owns the wire format and knows nothing of Consul or of what the servers
// should be. Commands can only be made from typed values, so no text from
// outside can become a command of its own.
//
// Sources: HAProxy's management guide, section 9.3 (Unix Socket commands), and
// experiments with HAProxy 2.6 to 3.4 where the guide is silent.
package runtime
