// Package resident answers Consul's HTTP checks of IRI nodes, so that no process
// has to be started for each of them.
//
// A [Server] takes GET /check?address=http://10.10.0.110:14265&… from loopback and
// answers as Consul reads it: 200 is passing, 429 a warning, anything else
// critical. What is asked of a node, and how it is judged, is package nodecheck's.
//
// It could be used to reach any address from this host, so it contacts only those
// that a [Catalog] knows as registered: written as IP addresses, with their port.
// Nothing is looked up, and no redirect is followed.
package resident
