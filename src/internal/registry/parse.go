package registry

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/runtime"
)

const (
	tagPrefix  = "haproxy."
	metaPrefix = "haproxy-"
)

// parser reads one service and collects what is wrong with it.
type parser struct {
	service, node string
	problems      []Problem
}

func (p *parser) problem(field, format string, args ...any) {
	p.problems = append(p.problems, Problem{p.service, p.node, field, fmt.Sprintf(format, args...)})
}

// parse turns Consul's entry into a node. It returns false for a service that
// cannot be used at all; its problems then say why.
func parse(entry *api.ServiceEntry) (Node, []Problem, bool) {
	if entry == nil || entry.Service == nil || entry.Node == nil {
		return Node{}, []Problem{{Field: "service", Reason: "half an entry; skipped"}}, false
	}
	p := &parser{service: clip(entry.Service.ID), node: clip(entry.Node.Node)}
	addr, err := address(entry)
	if err != nil {
		p.problem("address", "%v; the service is skipped", err)
		return Node{}, p.problems, false
	}
	n := Node{Node: pool.Node{ID: p.service, Addr: addr, Health: health(entry.Checks), Weight: weight(entry)}}
	p.settings(&n, entry)
	return n, p.problems, true
}

// address reads the service's own address, or its Consul node's when it has
// none. Only IP literals are taken.
func address(entry *api.ServiceEntry) (netip.AddrPort, error) {
	text := entry.Service.Address
	if text == "" {
		text = entry.Node.Address
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is not an IP address", clip(text))
	}
	addr = addr.Unmap()
	if addr.Zone() != "" || addr.IsUnspecified() || addr.IsMulticast() {
		return netip.AddrPort{}, fmt.Errorf("%q is not the address of a single host", clip(text))
	}
	port := entry.Service.Port
	if port < 1 || port > 65535 {
		return netip.AddrPort{}, fmt.Errorf("port %d is not between 1 and 65535", port)
	}
	full := netip.AddrPortFrom(addr, uint16(port))
	if full == pool.Placeholder {
		return netip.AddrPort{}, fmt.Errorf("%s marks an empty slot", full)
	}
	return full, nil
}

// health is the worst of the service's and its Consul node's checks.
func health(checks api.HealthChecks) pool.Health {
	switch checks.AggregatedStatus() {
	case api.HealthPassing:
		return pool.Passing
	case api.HealthWarning:
		return pool.Warning
	case api.HealthMaint:
		return pool.Maintenance
	}
	for _, c := range checks {
		if c.Status == api.HealthCritical && hasRun(c) {
			return pool.Critical
		}
	}
	return pool.Unchecked
}

// hasRun is false for a check that Consul runs and that has no output yet:
// that is how Consul starts every one of them, critical, also after its own
// restart, and it is no verdict on the node. A TTL check is set from outside,
// where an empty output means nothing, and Consul remembers it over a restart.
func hasRun(c *api.HealthCheck) bool {
	return c.Output != "" || c.Type == "" || c.Type == "ttl"
}

// weight is Consul's own weight for the state that the service is in.
func weight(entry *api.ServiceEntry) int {
	w := entry.Service.Weights.Passing
	if entry.Checks.AggregatedStatus() == api.HealthWarning {
		w = entry.Service.Weights.Warning
	}
	return min(max(w, 0), runtime.MaxWeight)
}

// settings reads the keys of requirements: Meta first, so that tags win.
func (p *parser) settings(n *Node, entry *api.ServiceEntry) {
	n.Default = true
	s := settings{pow: "false", scheme: "http", verify: true}
	for key, value := range entry.Service.Meta {
		if name, ok := strings.CutPrefix(key, metaPrefix); ok {
			p.set(&s, n, "Meta "+clip(key), name, value)
		}
	}
	for _, tag := range entry.Service.Tags {
		name, ok := strings.CutPrefix(tag, tagPrefix)
		if !ok {
			continue
		}
		key, value, ok := strings.Cut(name, "=")
		if !ok {
			p.problem("tag "+clip(tag), "no '=' in it; the tag is ignored (write haproxy.<key>=<value>)")
			continue
		}
		p.set(&s, n, "tag "+clip(tag), key, value)
	}
	n.PoW = s.pow != "false"
	n.Default = s.pow != "only"
	if s.scheme == "https" {
		n.TLS = pool.Unverified
		if s.verify {
			n.TLS = pool.Verified
		}
	}
}

type settings struct {
	pow, scheme string
	verify      bool
}

// set takes one key over, or says why it does not: the value from before stays.
func (p *parser) set(s *settings, n *Node, field, key, value string) {
	switch key {
	case "pow":
		if value != "true" && value != "false" && value != "only" {
			p.problem(field, "the value is not true, false or only; it is ignored")
			return
		}
		s.pow = value
	case "scheme":
		if value != "http" && value != "https" {
			p.problem(field, "the value is not http or https; it is ignored")
			return
		}
		s.scheme = value
	case "sslverify":
		if value != "0" && value != "1" && value != "true" && value != "false" {
			p.problem(field, "the value is not 0, 1, true or false; it is ignored")
			return
		}
		s.verify = value == "1" || value == "true"
	case "weight":
		if w, ok := p.number(field, value, runtime.MaxWeight); ok {
			n.Weight = w
		}
	case "maxconn":
		if m, ok := p.number(field, value, runtime.MaxMaxConn); ok {
			n.MaxConn, n.MaxConnSet = m, true
		}
	default:
		p.problem(field, "unknown key (known: pow, scheme, sslverify, weight, maxconn); it is ignored")
	}
}

func (p *parser) number(field, value string, most int) (int, bool) {
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil || n > uint64(most) {
		p.problem(field, "the value is not a whole number from 0 to %d; it is ignored", most)
		return 0, false
	}
	return int(n), true
}

// clip makes foreign text fit for a log line: short, printable, on one line.
func clip(s string) string {
	const most = 100
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.Trim(strconv.Quote(s), `"`)
}
