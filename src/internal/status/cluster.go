package status

import (
	"cmp"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"time"
)

// oldAfter is how old a report may be before it says nothing about the present. A handler writes one every 30 s.
const oldAfter = 90 * time.Second

// Cluster is what all hosts say of themselves, and where they differ.
type Cluster struct {
	Consul ClusterConsul `json:"consul"`
	Hosts  []Host        `json:"hosts"`
	// Addresses are the virtual addresses that are configured.
	Addresses []Address `json:"addresses"`
	// Compared are the HAProxies whose slots were compared, by the names of their hosts.
	Compared    []string     `json:"compared"`
	Differences []Difference `json:"differences"`
}

// ClusterConsul is the agent that was asked.
type ClusterConsul struct {
	Address string `json:"address"`
	// Leader is the name of the leader's host, "" when there is none.
	Leader string `json:"leader"`
	Error  string `json:"error,omitempty"`
}

// Host is a host that Consul knows, or that has written a report.
type Host struct {
	Name string `json:"name"`
	// Role is leader, server or client; "" for a host that Consul does not know.
	Role string `json:"role"`
	// State is Consul's: alive, leaving, left or failed.
	State string `json:"state"`
	// Report is nil when there is none, or none that can be read: see Error.
	Report *Report `json:"report,omitempty"`
	// AgeSeconds is how old the report is; less than 0 when the host's clock is ahead of this one's.
	AgeSeconds int `json:"age_seconds"`
	// Old is set for a report that says nothing about the present.
	Old   bool   `json:"old"`
	Error string `json:"error,omitempty"`
}

// Address is a virtual address and the hosts that have it: one, if all is well.
type Address struct {
	Address string   `json:"address"`
	Hosts   []string `json:"hosts"`
	// Known is false while a host that may have it has no report about the present.
	Known bool `json:"known"`
}

// Difference is a node that is not the same in all HAProxies.
type Difference struct {
	Pool       string `json:"pool"`
	ID         string `json:"id"`
	Address    string `json:"address"`
	Registered string `json:"registered_at,omitempty"`
	// On is what each HAProxy has, in the order of Compared; nil where the node is not listed.
	On []*Seen `json:"on"`
}

// Seen is a node as one host has it.
type Seen struct {
	Slot    string `json:"slot"`
	HAProxy string `json:"haproxy"`
	Verdict string `json:"verdict"`
}

// Compare completes what was read: how old each report is, who has which address, and what differs.
func (c *Cluster) Compare(now time.Time, addresses []string) {
	slices.SortFunc(c.Hosts, func(a, b Host) int { return strings.Compare(a.Name, b.Name) })
	c.Addresses, c.Compared, c.Differences = []Address{}, []string{}, []Difference{}
	for i := range c.Hosts {
		if h := &c.Hosts[i]; h.Report != nil {
			age := now.Sub(h.Report.Written)
			h.AgeSeconds, h.Old = int(age.Seconds()), age.Abs() > oldAfter
		}
	}
	for _, a := range addresses {
		c.Addresses = append(c.Addresses, c.findAddress(a))
	}
	c.findDifferences()
}

func (c *Cluster) findAddress(a string) Address {
	address, silent := Address{Address: a, Hosts: []string{}}, false
	for _, h := range c.Hosts {
		switch {
		case h.present():
			address.Known = true
			if slices.Contains(h.Report.Addresses, a) {
				address.Hosts = append(address.Hosts, h.Name)
			}
		case h.Report != nil && !h.gone():
			silent = true
		}
	}
	address.Known = address.Known && !silent
	return address
}

// present reports whether the host's report is about the present. A host that has died leaves its last one behind.
func (h Host) present() bool { return h.Report != nil && !h.Old && !h.gone() }

// gone reports whether Consul takes the host for dead.
func (h Host) gone() bool { return h.State == "failed" || h.State == "left" }

// nodeKey tells one node of a pool from the others.
type nodeKey struct{ pool, id, address, registered string }

func (c *Cluster) findDifferences() {
	var all []map[nodeKey]Seen
	for _, h := range c.Hosts {
		if !h.present() {
			continue
		}
		for _, proxy := range h.Report.HAProxy {
			if proxy.Error != "" {
				continue
			}
			name := h.Name
			if len(h.Report.HAProxy) > 1 {
				name += " " + proxy.Socket
			}
			c.Compared = append(c.Compared, name)
			all = append(all, proxy.seen())
		}
	}
	keys := map[nodeKey]bool{}
	for _, one := range all {
		for key := range one {
			keys[key] = true
		}
	}
	for key := range keys {
		d, same := Difference{Pool: key.pool, ID: key.id, Address: key.address, Registered: key.registered}, true
		for _, one := range all {
			seen, listed := one[key]
			same = same && listed && seen == all[0][key]
			if listed {
				d.On = append(d.On, &seen)
			} else {
				d.On = append(d.On, nil)
			}
		}
		if !same {
			c.Differences = append(c.Differences, d)
		}
	}
	slices.SortFunc(c.Differences, func(a, b Difference) int {
		return cmp.Or(strings.Compare(a.Pool, b.Pool), strings.Compare(a.ID, b.ID), strings.Compare(a.Address, b.Address), strings.Compare(a.Registered, b.Registered))
	})
}

func (h ReportedHAProxy) seen() map[nodeKey]Seen {
	all := map[nodeKey]Seen{}
	for _, p := range h.Pools {
		for _, n := range p.Nodes {
			all[nodeKey{p.Name, n.ID, n.Address, n.Registered}] = Seen{n.Slot, n.HAProxy, n.Verdict}
		}
	}
	return all
}

// WriteJSON prints all of it for programs.
func (c Cluster) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(c)
}
