// Package catalog registers nodes in Consul's catalog, under a Consul node that has no agent, where no host's death takes them
// along.
package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

// Node is a node as users write it: an entry of iri_nodes, or the arguments of `node add`.
type Node struct {
	// ID is ADDRESS:PORT where it is left out.
	ID string `json:"id"`
	// Address may have a port instead of Port.
	Address string   `json:"address"`
	Port    int      `json:"port"`
	Tags    []string `json:"tags"`
	// Check are the options of the health check, such as skip-limited=true&pow=true, and Interval is how often it runs.
	Check    string `json:"check"`
	Interval string `json:"interval"`
}

// Registered is a node that Consul has.
type Registered struct {
	Node
	// At is the name of the agent that the node is registered at, or registry.InCatalog.
	At string `json:"registered_at"`
	// Managed is set for an entry of iri_nodes.
	Managed bool `json:"managed"`
}

// metaManaged marks the entries of iri_nodes in a service's Meta.
const (
	metaManaged = "iri-managed-by"
	managedBy   = "iri_nodes"
)

// Complete reads a port out of the address, and gives what is left out its default.
func (n Node) Complete() (Node, error) {
	host, port, err := splitAddress(n.Address)
	switch {
	case err != nil:
		return n, err
	case n.Port != 0 && port != 0 && n.Port != port:
		return n, fmt.Errorf("address %q has another port than %d", n.Address, n.Port)
	case n.Port == 0:
		n.Port = port
	}
	if n.Port == 0 {
		n.Port = registry.DefaultPort
	}
	n.Address = host
	if n.ID == "" {
		n.ID = net.JoinHostPort(host, strconv.Itoa(n.Port))
	}
	n.Tags = append([]string{}, n.Tags...) // [] and not null in JSON
	return n, nil
}

// splitAddress reads ADDRESS or ADDRESS:PORT. The port is 0 where there is none.
func splitAddress(text string) (host string, port int, err error) {
	if text == "" {
		return "", 0, errors.New("the address is missing")
	}
	if strings.Contains(text, "/") {
		return "", 0, fmt.Errorf("address %q: write it without http:// and without a path (TLS is --tag haproxy.scheme=https)", text)
	}
	if addr, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return addr.Unmap().String(), 0, nil
	}
	if !strings.Contains(text, ":") {
		return strings.ToLower(text), 0, nil
	}
	host, digits, err := net.SplitHostPort(text)
	if err != nil {
		return "", 0, fmt.Errorf("address %q is not ADDRESS or ADDRESS:PORT (with an IPv6 address: [2001:db8::1]:14265)", text)
	}
	port, err = strconv.Atoi(digits)
	if err != nil || port < 1 || port > 65535 {
		return "", 0, fmt.Errorf("address %q: the port is not a number between 1 and 65535", text)
	}
	host, _, err = splitAddress(host)
	return host, port, err
}

// service is the node as Consul has it.
func (n Node) service(name string, managed bool) *api.AgentService {
	meta := map[string]string{}
	for key, value := range map[string]string{registry.MetaCheck: n.Check, registry.MetaInterval: n.Interval} {
		if value != "" {
			meta[key] = value
		}
	}
	if managed {
		meta[metaManaged] = managedBy
	}
	return &api.AgentService{
		ID: n.ID, Service: name, Address: n.Address, Port: n.Port, Tags: n.Tags, Meta: meta,
		Weights: api.AgentWeights{Passing: 1, Warning: 1}, // Consul's default
	}
}

// same reports whether the registration would not change anything.
func (n Node) same(as Node) bool {
	return n.ID == as.ID && n.at(as) && slices.Equal(n.Tags, as.Tags) && n.Check == as.Check && n.Interval == as.Interval
}

// at reports whether both have the same address.
func (n Node) at(other Node) bool { return n.Address == other.Address && n.Port == other.Port }

// ParseList reads the JSON list of iri_nodes. Errors name the entry.
func ParseList(text []byte) ([]Node, error) {
	var entries []json.RawMessage
	if err := json.Unmarshal(text, &entries); err != nil {
		return nil, fmt.Errorf("not a JSON list of nodes: %w", err)
	}
	if entries == nil {
		return nil, errors.New("not a JSON list of nodes: null; the empty list is []")
	}
	nodes, numbers := make([]Node, 0, len(entries)), map[string]int{}
	for i, entry := range entries {
		decoder := json.NewDecoder(bytes.NewReader(entry))
		decoder.DisallowUnknownFields()
		var n Node
		err := decoder.Decode(&n)
		if err == nil {
			n, err = n.Complete()
		}
		if err != nil {
			return nil, fmt.Errorf("entry %d, %s: %w", i+1, clip(entry), err)
		}
		if first := numbers[n.ID]; first > 0 {
			return nil, fmt.Errorf("entries %d and %d have the same id %q; give one of them another, with the key id", first, i+1, n.ID)
		}
		numbers[n.ID] = i + 1
		nodes = append(nodes, n)
	}
	return nodes, nil
}

// clip shortens an entry for an error.
func clip(text []byte) string {
	const most = 80
	if len(text) > most {
		return string(text[:most]) + "…"
	}
	return string(text)
}
