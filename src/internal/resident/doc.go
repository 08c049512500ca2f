// Package resident serves Consul's HTTP checks of IRI nodes, so that Consul does not have to start a process for each
// check.
//
// A [Server] accepts GET /check?address=http://10.10.0.110:14265&… from loopback and responds with the status that
// Consul expects: 200 is passing, 429 a warning, anything else critical. The check itself is package nodecheck's.
//
// So that the server cannot be abused to reach other addresses, it contacts only those that its [Catalog] knows to be
// registered in Consul, given as IP address and port. It resolves no names and follows no redirects.
package resident
