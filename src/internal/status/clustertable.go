package status

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteTable prints the cluster for people.
func (c Cluster) WriteTable(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	c.writeConsul(out)
	_, _ = fmt.Fprintln(out, "\nHOST\tCONSUL\tADDRESS\tHANDLER\tHAPROXY\tIN SERVICE\tREPORT")
	for _, h := range c.Hosts {
		_, _ = fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", h.Name, h.consul(), h.addresses(), h.handler(), h.haproxy(), h.inService(), h.age())
	}
	if err := out.Flush(); err != nil {
		return err
	}
	c.writeNotes(w)
	c.writeDifferences(out)
	return out.Flush()
}

func (c Cluster) writeConsul(w io.Writer) {
	switch {
	case c.Consul.Error != "":
		_, _ = fmt.Fprintf(w, "Consul %s: %s\n", c.Consul.Address, c.Consul.Error)
	case c.Consul.Leader == "":
		_, _ = fmt.Fprintf(w, "Consul %s: no leader; these are the last reports that it has\n", c.Consul.Address)
	default:
		_, _ = fmt.Fprintf(w, "Consul %s, leader %s\n", c.Consul.Address, c.Consul.Leader)
	}
}

func (h Host) consul() string {
	if h.Role == "" {
		return "unknown"
	}
	return h.Role + ", " + h.State
}

func (h Host) addresses() string {
	if h.Report == nil {
		return "-"
	}
	return orDash(strings.Join(h.Report.Addresses, " "))
}

func (h Host) handler() string {
	switch {
	case h.Report == nil:
		return "-"
	case len(h.Report.NotReady) > 0:
		return "not ready"
	}
	return "ready"
}

func (h Host) haproxy() string {
	if h.Report == nil {
		return "-"
	}
	var versions []string
	for _, p := range h.Report.HAProxy {
		// "3.0.11-1+deb13u5" is Debian's name of 3.0.11.
		version, _, _ := strings.Cut(p.Version, "-")
		if p.Error != "" {
			version = "error"
		}
		if !slices.Contains(versions, version) {
			versions = append(versions, version)
		}
	}
	return orDash(strings.Join(versions, " "))
}

// inService is how many nodes of each pool get requests: "default 2/3, pow 1/1".
func (h Host) inService() string {
	if h.Report == nil {
		return "-"
	}
	var all []string
	for _, proxy := range h.Report.HAProxy {
		var pools []string
		for _, p := range proxy.Pools {
			pools = append(pools, fmt.Sprintf("%s %d/%d", p.Name, p.inService(), len(p.Nodes)))
		}
		if len(pools) > 0 {
			all = append(all, strings.Join(pools, ", "))
		}
	}
	return orDash(strings.Join(all, "; "))
}

func (h Host) age() string {
	switch age := time.Duration(h.AgeSeconds) * time.Second; {
	case h.Report == nil:
		return "none"
	case h.Old && age < 0:
		return "clock is " + age.Abs().String() + " ahead"
	case h.Old:
		return "old: " + age.String() + " ago"
	default:
		return max(age, 0).String() + " ago"
	}
}

// writeNotes explains what the table shows in a word.
func (c Cluster) writeNotes(w io.Writer) {
	var notes []string
	for _, h := range c.Hosts {
		if h.Error != "" {
			notes = append(notes, h.Name+": "+h.Error)
		}
		if h.Report == nil {
			continue
		}
		for _, reason := range h.Report.NotReady {
			notes = append(notes, h.Name+" is not ready: "+reason)
		}
	}
	for _, a := range c.Addresses {
		switch {
		case len(a.Hosts) > 1:
			notes = append(notes, fmt.Sprintf("%s have the address %s at once: they do not hear each other's VRRP (IP protocol 112)",
				strings.Join(a.Hosts, " and "), a.Address))
		case len(a.Hosts) == 0 && a.Known:
			notes = append(notes, fmt.Sprintf("No host has the address %s: see journalctl -u keepalived on each", a.Address))
		case len(a.Hosts) == 0:
			notes = append(notes, fmt.Sprintf("Who has the address %s is not known: not every host has a report of the last %s", a.Address, oldAfter))
		}
	}
	if len(notes) > 0 {
		_, _ = fmt.Fprintf(w, "\n%s\n", strings.Join(notes, "\n"))
	}
}

func (c Cluster) writeDifferences(w io.Writer) {
	if len(c.Compared) < 2 {
		_, _ = fmt.Fprintln(w, "\nDifferences: not known; it takes the reports of two hosts")
		return
	}
	_, _ = fmt.Fprintf(w, "\nDifferences between %s: ", strings.Join(c.Compared, ", "))
	if len(c.Differences) == 0 {
		_, _ = fmt.Fprintln(w, "none")
		return
	}
	_, _ = fmt.Fprintf(w, "%d\nPOOL\tNODE\t%s\n", len(c.Differences), strings.Join(c.Compared, "\t"))
	for _, d := range c.Differences {
		name := d.ID
		if name == "" {
			name = d.Address
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", d.Pool, name, strings.Join(d.cells(), "\t"))
	}
}

// cells say what each HAProxy has, without what is the same in all of them.
func (d Difference) cells() []string {
	differ := func(field func(Seen) string) bool {
		values := map[string]bool{}
		for _, s := range d.On {
			if s != nil {
				values[field(*s)] = true
			}
		}
		return len(values) > 1
	}
	verdict, haproxy := func(s Seen) string { return s.Verdict }, func(s Seen) string { return s.HAProxy }
	slot := func(s Seen) string { return s.Slot }
	var shown []func(Seen) string
	for _, field := range []func(Seen) string{verdict, haproxy, slot} {
		if differ(field) {
			shown = append(shown, field)
		}
	}
	if len(shown) == 0 { // some do not list it, and the others agree
		shown = append(shown, verdict, haproxy)
	}
	cells := make([]string, 0, len(d.On))
	for _, s := range d.On {
		if s == nil {
			cells = append(cells, "not listed")
			continue
		}
		var words []string
		for _, field := range shown {
			if word := field(*s); word != "" {
				words = append(words, word)
			}
		}
		cells = append(cells, orDash(strings.Join(words, ", ")))
	}
	return cells
}
