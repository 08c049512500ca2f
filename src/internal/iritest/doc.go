// Package iritest is a fake IRI node for tests of whatever talks to IRI's HTTP
// API: clients, checks, proxies.
//
// A [Node] is an http.Handler that answers as a chosen version of IRI or HORNET
// does: the same order of checks, status codes, shapes of errors and fields. It
// holds no tangle; what it answers is well formed and made up. [NewServer] serves
// one on a free port of loopback:
//
//	node := iritest.NewServer(iritest.Version("1.8.6"), iritest.Behind(5))
//	defer node.Close()
//	check(node.URL)
//	if node.Count("interruptAttachingToTangle") > 0 { … }
//
// Everything can be changed while it runs, with [Node.Update] or, from outside,
// through [Node.Control]:
//
//	node.Update(func(s *iritest.State) { s.Behind = 0; s.Fault = iritest.FaultDrop })
//
// In one thing the default is not IRI's: IRI trusts loopback and refuses it
// nothing. A test runs on loopback and means a node elsewhere, so the fake trusts
// nobody until [TrustLoopback].
//
// [Versions] are those at which the API changed; [Faults] are the ways to
// misbehave. [NewServerOn] serves on any address, with https by a certificate of an
// [Authority]. docs/iritest.md lists what each version and each fault is.
//
// Source of the facts: github.com/iotaledger/iri at 1.4.1.7 to 1.8.6 and
// github.com/iotaledger/hornet at v0.4.2 to v0.5.10.
package iritest
