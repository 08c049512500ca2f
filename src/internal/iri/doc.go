// Package iri is a client for the HTTP API of IRI nodes, and of HORNET nodes, which implement the same API.
//
// It owns the request, the limits on what is read of a response, and the classification of failures into kinds.
// Whether a node may serve traffic is decided by package nodecheck.
//
// The API: every command is a POST of one JSON object with the key "command"; the header X-IOTA-API-Version must be
// present. A response whose status is not 200 gives the reason in "error" (a string; in HORNET 0.5.10 also an object)
// or in "exception". Source: github.com/iotaledger/iri, service/API.java and service/restserver/resteasy/RestEasy.java,
// versions 1.4.1.7 to 1.8.6.
package iri
