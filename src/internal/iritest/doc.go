// Package iritest is a fake IRI node, for testing clients, checks and proxies of IRI's HTTP API.
//
// A [Node] is an http.Handler that responds as a given version of IRI or HORNET does: with the same order of checks,
// status codes, error formats and fields. It has no tangle; the contents of its responses are well-formed and invented.
// [NewServer] serves one on a free port of 127.0.0.1:
//
//	node := iritest.NewServer(iritest.Version("1.8.6"), iritest.Behind(5))
//	defer node.Close()
//	check(node.URL)
//	if node.Count("interruptAttachingToTangle") > 0 { … }
//
// Everything can be changed while it runs, with [Node.Update] or over HTTP with [Node.Control]:
//
//	node.Update(func(s *iritest.State) { s.Behind = 0; s.Fault = iritest.FaultDrop })
//
// One default differs from IRI: IRI refuses nothing to clients on loopback. Tests run on loopback but stand for remote
// clients, so the fake treats loopback like any other address unless [TrustLoopback] is given.
//
// [Versions] lists the versions at which the API changed, [Faults] the faults that can be injected. [NewServerOn]
// serves on any address, over TLS with a certificate of an [Authority]. docs/iritest.md describes every version and
// fault.
//
// Source: github.com/iotaledger/iri at 1.4.1.7 to 1.8.6 and github.com/iotaledger/hornet at v0.4.2 to v0.5.10.
package iritest
