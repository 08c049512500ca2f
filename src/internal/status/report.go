package status

import (
	"time"
)

// Report is what the handler of one host says of itself, for the other hosts.
type Report struct {
	Host    string    `json:"host"`
	Written time.Time `json:"written"`
	Version string    `json:"handler_version"`
	Started time.Time `json:"started"`
	// NotReady are the reasons of /readyz, none for a handler that is ready.
	NotReady []string `json:"not_ready"`
	// Addresses are the virtual addresses that the host has.
	Addresses []string          `json:"addresses"`
	HAProxy   []ReportedHAProxy `json:"haproxy"`
}

// ReportedHAProxy is HAProxy without what changes all the time.
type ReportedHAProxy struct {
	Socket  string         `json:"socket"`
	Version string         `json:"version,omitempty"`
	Pid     string         `json:"pid,omitempty"`
	Started time.Time      `json:"started,omitzero"`
	Error   string         `json:"error,omitempty"`
	Pools   []ReportedPool `json:"pools"`
}

// ReportedPool is one backend.
type ReportedPool struct {
	Name  string         `json:"name"`
	Nodes []ReportedNode `json:"nodes"`
}

// ReportedNode is a node of a pool. Its fields are those of Node.
type ReportedNode struct {
	ID         string `json:"id"`
	Address    string `json:"address"`
	Registered string `json:"registered_at,omitempty"`
	Slot       string `json:"slot,omitempty"`
	HAProxy    string `json:"haproxy"`
	// Verdict is that of this host's own check for a node in the catalog, else Consul's.
	Verdict string `json:"verdict"`
}

// Reported leaves out what changes all the time.
func (h HAProxy) Reported() ReportedHAProxy {
	r := ReportedHAProxy{Socket: h.Socket, Version: h.Version, Pid: h.Pid, Started: h.Started, Error: h.Error, Pools: []ReportedPool{}}
	for _, p := range h.Pools {
		nodes := make([]ReportedNode, 0, len(p.Nodes))
		for _, n := range p.Nodes {
			nodes = append(nodes, ReportedNode{n.ID, n.Address, n.Registered, n.Slot, n.HAProxy, n.Consul})
		}
		r.Pools = append(r.Pools, ReportedPool{p.Name, nodes})
	}
	return r
}

// inService counts the nodes that get requests.
func (p ReportedPool) inService() int {
	count := 0
	for _, n := range p.Nodes {
		if n.HAProxy == "ready" {
			count++
		}
	}
	return count
}
