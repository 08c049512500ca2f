// Package status is what `iri-lb-handler status` shows: what Consul and every HAProxy say of each node, and with --cluster
// what all hosts say. It reads nothing itself.
package status

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// Status is what Consul and every HAProxy say now.
type Status struct {
	Consul  Consul    `json:"consul"`
	HAProxy []HAProxy `json:"haproxy"`
}

// Consul is the registry's side.
type Consul struct {
	Address  string    `json:"address"`
	Service  string    `json:"service"`
	Index    uint64    `json:"index"`
	Problems []Problem `json:"problems"`
	// Error is why the registry could not be read, "" when it could.
	Error string `json:"error,omitempty"`
	// FromDisk is the file that the nodes are from instead, "" when they are Consul's.
	FromDisk string `json:"from_disk,omitempty"`
}

// Problem is a service, tag or value that cannot be used.
type Problem struct {
	Service string `json:"service"`
	Field   string `json:"field"`
	Reason  string `json:"reason"`
}

// HAProxy is one HAProxy process.
type HAProxy struct {
	Socket  string `json:"socket"`
	Version string `json:"version,omitempty"`
	Pid     string `json:"pid,omitempty"`
	// Started is when the worker was started.
	Started time.Time `json:"started,omitzero"`
	Pools   []Pool    `json:"pools"`
	Error   string    `json:"error,omitempty"`
}

// Pool is one backend.
type Pool struct {
	Name    string `json:"name"`
	Backend string `json:"backend"`
	Slots   int    `json:"slots"`
	Free    int    `json:"free"`
	Nodes   []Node `json:"nodes"`
}

// Node is a node of a pool, or a slot that still serves one which is no longer registered.
type Node struct {
	ID      string `json:"id"`
	Host    string `json:"host,omitempty"`
	Address string `json:"address"`
	// Consul is the node's health there, "not registered", or "unknown" when Consul did not answer.
	Consul string `json:"consul"`
	// Registered is the agent that the node is registered at, or "catalog"; "" for a slot that nobody is registered for.
	Registered string `json:"registered_at,omitempty"`
	// Slot is "" for a node that has none.
	Slot string `json:"slot"`
	// HAProxy is ready, ejected (HAProxy's own check fails), down (that check has not passed yet), drain, maint or "no slot".
	HAProxy string `json:"haproxy"`
	// Reason says why a node is ejected, or in service without HAProxy's check; "" for all others.
	Reason   string `json:"reason,omitempty"`
	Weight   int    `json:"weight"`
	MaxConn  int    `json:"maxconn"`
	Sessions int    `json:"sessions"`
	// ChangedSeconds is how long ago HAProxy saw the slot's state change.
	ChangedSeconds int `json:"changed_seconds"`
}

// WriteJSON prints the status for programs.
func (st Status) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(st)
}

// maxProblems is how many problems the table shows above the nodes.
const maxProblems = 10

// WriteTable prints the status for people.
func (st Status) WriteTable(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(out, "Consul %s, service %s", st.Consul.Address, st.Consul.Service)
	if st.Consul.Error != "" {
		_, _ = fmt.Fprintf(out, ": %s\n", st.Consul.Error)
	} else {
		_, _ = fmt.Fprintf(out, ", index %d\n", st.Consul.Index)
	}
	if st.Consul.FromDisk != "" {
		_, _ = fmt.Fprintf(out, "The nodes are those of the last list on the disk, %s\n", st.Consul.FromDisk)
	}
	for i, p := range st.Consul.Problems {
		if i == maxProblems {
			_, _ = fmt.Fprintf(out, "  and %d more problems; --json lists all\n", len(st.Consul.Problems)-maxProblems)
			break
		}
		_, _ = fmt.Fprintf(out, "  problem with %s, %s: %s\n", p.Service, p.Field, p.Reason)
	}
	for _, h := range st.HAProxy {
		h.writeTable(out)
	}
	return out.Flush()
}

func (h HAProxy) writeTable(out io.Writer) {
	if h.Error != "" {
		_, _ = fmt.Fprintf(out, "HAProxy %s: %s\n", h.Socket, h.Error)
	} else {
		_, _ = fmt.Fprintf(out, "HAProxy %s, version %s, pid %s\n", h.Socket, h.Version, h.Pid)
	}
	for _, p := range h.Pools {
		_, _ = fmt.Fprintf(out, "\nPool %s (backend %s): %d of %d slots free\n", p.Name, p.Backend, p.Free, p.Slots)
		if len(p.Nodes) == 0 {
			_, _ = fmt.Fprintln(out, "no nodes")
			continue
		}
		_, _ = fmt.Fprintln(out, "NODE\tADDRESS\tCONSUL\tSLOT\tHAPROXY\tWEIGHT\tMAXCONN\tSESSIONS\tCHANGED\tREGISTERED AT")
		for _, n := range p.Nodes {
			n.writeRow(out)
		}
		for _, n := range p.Nodes {
			if n.Reason != "" {
				_, _ = fmt.Fprintf(out, "%s has been %s for %s: %s\n", cmp.Or(n.ID, n.Address), n.HAProxy, time.Duration(n.ChangedSeconds)*time.Second, n.Reason)
			}
		}
	}
}

func (n Node) writeRow(out io.Writer) {
	address := n.Address
	if n.Host != "" {
		address = n.Host + " " + address
	}
	if n.Slot == "" {
		_, _ = fmt.Fprintf(out, "%s\t%s\t%s\t-\t%s\t-\t-\t-\t-\t%s\n", orDash(n.ID), address, n.Consul, n.HAProxy, orDash(n.Registered))
		return
	}
	limit := "none"
	if n.MaxConn > 0 {
		limit = fmt.Sprint(n.MaxConn)
	}
	_, _ = fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%d\t%ds ago\t%s\n", orDash(n.ID), address, n.Consul, n.Slot, n.HAProxy,
		n.Weight, limit, n.Sessions, n.ChangedSeconds, orDash(n.Registered))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
