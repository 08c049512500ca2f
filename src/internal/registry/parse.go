package registry

import (
	"errors"
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
	n := Node{Node: pool.Node{ID: p.service, Health: health(entry.Checks)}, Default: true}
	if err := n.locate(entry); err != nil {
		p.problem("address", "%v; the service is skipped", err)
		return Node{}, p.problems, false
	}
	weigh(&n, entry)
	p.settings(&n, entry)
	return n, p.problems, true
}

// DefaultPort is IRI's own (IRI's documentation, option PORT). It is taken where
// a service has none.
const DefaultPort = 14265

// locate reads the service's own address, or its Consul node's when it has none:
// an IP address, or a name that is still to be resolved.
func (n *Node) locate(entry *api.ServiceEntry) error {
	text := entry.Service.Address
	if text == "" {
		text = entry.Node.Address
	}
	port := entry.Service.Port
	if port == 0 {
		port = DefaultPort
	}
	if port < 1 || port > 65535 {
		return fmt.Errorf("port %d is not between 1 and 65535", port)
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		if n.Host, err = hostname(text); err != nil {
			return fmt.Errorf("%q is neither an IP address nor a host name", clip(text))
		}
		n.SNI = n.Host
		n.Addr = netip.AddrPortFrom(netip.Addr{}, uint16(port))
		return nil
	}
	n.Addr = netip.AddrPortFrom(addr.Unmap(), uint16(port))
	return CheckAddr(n.Addr)
}

// hostname takes no name that ends in a number: "10.1.2" is an address with a
// part missing (RFC 1123, section 2.1).
func hostname(text string) (runtime.Hostname, error) {
	host, err := runtime.NewHostname(text)
	if err != nil {
		return host, err
	}
	last := host.String()[strings.LastIndexByte(host.String(), '.')+1:]
	if _, err := strconv.Atoi(last); err == nil {
		return runtime.Hostname{}, errors.New("a number is not a top-level domain")
	}
	return host, nil
}

// CheckAddr refuses what is not the address of a single host.
func CheckAddr(addr netip.AddrPort) error {
	ip := addr.Addr()
	if ip.Zone() != "" || ip.IsUnspecified() || ip.IsMulticast() {
		return fmt.Errorf("%q is not the address of a single host", clip(ip.String()))
	}
	if addr == pool.Placeholder {
		return fmt.Errorf("%s marks an empty slot", addr)
	}
	return nil
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

// weigh takes Consul's own weight for the state that the service is in. Where
// Consul has the same one for both states, nobody has set it (1 is its default),
// and the pool's share for warnings holds.
func weigh(n *Node, entry *api.ServiceEntry) {
	w := entry.Service.Weights
	n.Weight = w.Passing
	if n.Health == pool.Warning {
		n.Weight = w.Warning
		n.Reduced = w.Warning == w.Passing
	}
	n.Weight = min(max(n.Weight, 0), runtime.MaxWeight)
}

// settings reads the keys of requirements: Meta first, so that tags win.
func (p *parser) settings(n *Node, entry *api.ServiceEntry) {
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
			n.Weight, n.Reduced = w, n.Health == pool.Warning
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
