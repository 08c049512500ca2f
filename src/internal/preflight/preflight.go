// Package preflight answers the playbook's questions about a host before anything changes on it: is every port free for
// the service that is to have it, would HAProxy accept its configuration, and can every node of iri_nodes be registered?
package preflight

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/catalog"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/ports"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

// Request is what the playbook asks, as JSON.
type Request struct {
	// Ports are those of all services but HAProxy, whose configuration has its own.
	Ports []Port `json:"ports"`
	// Containers and Units are the installed services. What they listen on counts as free.
	Containers []string `json:"containers"`
	Units      []string `json:"units"`
	// HAProxy is nil on a host without a load balancer.
	HAProxy *HAProxy `json:"haproxy"`
	// Nodes is nil on such a host, too.
	Nodes *Nodes `json:"nodes"`
}

// Nodes is iri_nodes, with what decides whether its entries can be registered.
type Nodes struct {
	List  json.RawMessage `json:"list"`
	Pools []string        `json:"pools"`
	// FrontendPort is where HAProxy serves wallets.
	FrontendPort uint16 `json:"frontend_port"`
}

// check says which entry is wrong, and why.
func (n Nodes) check() error {
	nodes, err := catalog.ParseList(n.List)
	if err == nil {
		err = catalog.Validate(nodes, registry.Options{Pools: n.Pools, OwnPort: n.FrontendPort})
	}
	if err != nil {
		return fmt.Errorf("iri_nodes: %w", err)
	}
	return nil
}

// Port is a port, and the variable that sets it.
type Port struct {
	Variable string         `json:"variable"`
	Address  netip.AddrPort `json:"address"`
	UDP      bool           `json:"udp"`
}

// HAProxy is its configuration, and what the container that runs it sees.
type HAProxy struct {
	Configuration string `json:"configuration"`
	// ConfigFile is where the configuration is to be.
	ConfigFile string `json:"config_file"`
	// Image checks the configuration; "" when it is not on the host yet.
	Image string `json:"image"`
	// Folders are those that the container sees. Files and Certificates in them, and the Authorities, are replaced by
	// stand-ins where they do not exist yet.
	Folders      []string `json:"folders"`
	Files        []string `json:"files"`
	Certificates []string `json:"certificates"`
	Authorities  string   `json:"authorities"`
}

// Read reads a request.
func Read(r io.Reader) (Request, error) {
	var req Request
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&req); err != nil {
		return Request{}, fmt.Errorf("the request on standard input is not the JSON that is expected: %w", err)
	}
	return req, nil
}

// Run answers a request: nil, or what is wrong, a line for each.
func Run(ctx context.Context, req Request) error {
	var wanted []ports.Port
	for _, p := range req.Ports {
		wanted = append(wanted, ports.Port{Name: p.Variable, Address: p.Address, UDP: p.UDP})
	}
	var judged error
	if h := req.HAProxy; h != nil {
		wanted = append(wanted, ports.OfHAProxy(h.ConfigFile, h.Configuration)...)
		if h.Image != "" {
			judged = h.judge(ctx)
		}
	}
	var listed error
	if req.Nodes != nil {
		listed = req.Nodes.check()
	}
	s := services{ctx}
	return errors.Join(listed, judged, ports.Check(s.without(wanted, req.Units), s.processes(req)))
}
