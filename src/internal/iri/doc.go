// Package iri talks to the HTTP API of an IRI node, and of HORNET, which
// answers the same API.
//
// It owns the request, the limits on what is read, and the sorting of what can
// go wrong into kinds. It does not judge a node: that is package nodecheck's.
//
// The API: every command is a POST of one JSON object with the key "command",
// and the header X-IOTA-API-Version must be present. An answer of another
// status than 200 says why in "error" (a text; HORNET 0.5.10 also an object) or
// in "exception". Source: github.com/iotaledger/iri, service/API.java and
// service/restserver/resteasy/RestEasy.java, 1.4.1.7 to 1.8.6.
package iri
