package nodelist

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/nodecheck"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/registry"
)

// format is the version of the file's format. A program refuses a newer one than its own.
const format = 1

// document is the file.
type document struct {
	Format  int    `json:"format"`
	Service string `json:"service"`
	// Index is Consul's index of the list: a Consul that is behind it has lost data.
	Index uint64 `json:"index"`
	// Nodes is a list of node.
	Nodes json.RawMessage `json:"nodes"`
}

// node is a registry.Node. What Consul says of the node is not kept as it was, but as it was understood.
type node struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	Host    string `json:"host,omitempty"`
	Kind    string `json:"kind"`
	Health  string `json:"health"`
	Weight  int    `json:"weight"`
	Reduced bool   `json:"reduced,omitempty"`
	MaxConn *int   `json:"maxconn,omitempty"`
	// MaxConnPoW is for the pool pow alone.
	MaxConnPoW *int     `json:"maxconn_pow,omitempty"`
	Pools      []string `json:"pools"`
	// Agent is left out for a node of the catalog, which has a Check.
	Agent string `json:"agent,omitempty"`
	Check *check `json:"check,omitempty"`
}

type check struct {
	Options  string         `json:"options,omitempty"`
	Interval string         `json:"interval"`
	Passing  registry.Share `json:"passing"`
	Warning  registry.Share `json:"warning"`
}

func encodeNode(n registry.Node) node {
	out := node{
		ID: n.ID, Address: n.Addr.String(), Host: n.SNI.String(), Kind: n.TLS.Prefix(), Health: n.Health.String(),
		Weight: n.Weight, Reduced: n.Reduced, Pools: n.Pools, Agent: n.Agent,
	}
	if n.MaxConnSet {
		out.MaxConn = &n.MaxConn
	}
	if n.MaxConnPoWSet {
		out.MaxConnPoW = &n.MaxConnPoW
	}
	if c := n.Check; c != nil {
		out.Check = &check{Options: c.Options, Interval: c.Interval.String(), Passing: c.Passing, Warning: c.Warning}
	}
	return out
}

// decode reads the file. Nothing in it is trusted: somebody may have edited it.
func decode(text []byte, service string) (registry.Snapshot, error) {
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		return registry.Snapshot{}, fmt.Errorf("it is not a list of nodes: %w", err)
	}
	switch {
	case d.Format > format:
		return registry.Snapshot{}, fmt.Errorf("a newer iri-lb-handler has written it (format %d; this one reads up to %d)", d.Format, format)
	case d.Format != format:
		return registry.Snapshot{}, fmt.Errorf("it is not a list of nodes: its format is %d, not %d", d.Format, format)
	case d.Service != service:
		return registry.Snapshot{}, fmt.Errorf("it is the list of the service %q, not of %q", d.Service, service)
	}
	var nodes []node
	if err := json.Unmarshal(d.Nodes, &nodes); err != nil {
		return registry.Snapshot{}, fmt.Errorf("it is not a list of nodes: %w", err)
	}
	snap := registry.Snapshot{Index: d.Index, Complete: true, FromDisk: true}
	for _, one := range nodes {
		n, err := one.decode()
		if err != nil {
			return registry.Snapshot{}, fmt.Errorf("node %q: %w", one.ID, err)
		}
		snap.Nodes = append(snap.Nodes, n)
	}
	return snap, nil
}

func (in node) decode() (registry.Node, error) {
	n := registry.Node{Node: pool.Node{ID: in.ID, Weight: in.Weight, Reduced: in.Reduced}, Pools: in.Pools, Agent: in.Agent}
	var err error
	if n.Addr, err = netip.ParseAddrPort(in.Address); err != nil {
		return n, err
	}
	if in.Host != "" {
		if n.SNI, err = haproxy.NewHostname(in.Host); err != nil {
			return n, err
		}
		n.Host = n.SNI
	}
	if n.TLS, err = named("kind", in.Kind, pool.TLS.Prefix, pool.Plain, pool.Verified, pool.Unverified); err != nil {
		return n, err
	}
	n.Health, err = named("health", in.Health, pool.Health.String,
		pool.Passing, pool.Warning, pool.Unchecked, pool.Maintenance, pool.Critical)
	if err != nil {
		return n, err
	}
	if in.MaxConn != nil {
		n.MaxConn, n.MaxConnSet = *in.MaxConn, true
	}
	if in.MaxConnPoW != nil {
		n.MaxConnPoW, n.MaxConnPoWSet = *in.MaxConnPoW, true
	}
	if in.Check != nil {
		if n.Check, err = in.Check.decode(); err != nil {
			return n, err
		}
	}
	return n, checkNumbers(n)
}

// checkNumbers refuses what HAProxy would refuse.
func checkNumbers(n registry.Node) error {
	shares := []registry.Share{{Weight: n.Weight}}
	if n.Check != nil {
		shares = append(shares, n.Check.Passing, n.Check.Warning)
	}
	for _, s := range shares {
		if s.Weight < 0 || s.Weight > haproxy.MaxWeight {
			return fmt.Errorf("the weight %d is not between 0 and %d", s.Weight, haproxy.MaxWeight)
		}
	}
	for _, limit := range []int{n.MaxConn, n.MaxConnPoW} {
		if limit < 0 || limit > haproxy.MaxMaxConn {
			return fmt.Errorf("maxconn %d is not between 0 and %d", limit, haproxy.MaxMaxConn)
		}
	}
	if ip := n.Addr.Addr(); !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() || ip.Zone() != "" || n.Addr == pool.Placeholder {
		return fmt.Errorf("%s is not the address of a node", n.Addr)
	}
	return nil
}

// named finds a value by its name.
func named[T any](what, name string, nameOf func(T) string, all ...T) (T, error) {
	for _, value := range all {
		if nameOf(value) == name {
			return value, nil
		}
	}
	var none T
	return none, fmt.Errorf("unknown %s %q", what, name)
}

func (in check) decode() (*registry.Check, error) {
	c := &registry.Check{Options: in.Options, Passing: in.Passing, Warning: in.Warning}
	var err error
	if c.Interval, err = time.ParseDuration(in.Interval); err != nil {
		return nil, err
	}
	if c.Interval < time.Second {
		return nil, fmt.Errorf("the interval %s is shorter than 1s", c.Interval)
	}
	_, err = nodecheck.ParseOptions(c.Options)
	return c, err
}
