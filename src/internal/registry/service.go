package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
)

// parser turns Consul's entries into nodes.
type parser struct {
	tags []tag
	// ownPort is Options.OwnPort.
	ownPort uint16
}

func newParser(pools []string, ownPort uint16) parser {
	return parser{tags: tags(pools), ownPort: ownPort}
}

// problems collects what is wrong with one service.
type problems struct {
	service, node string
	list          []Problem
}

func (p *problems) add(field, format string, args ...any) {
	p.list = append(p.list, Problem{p.service, p.node, field, fmt.Sprintf(format, args...)})
}

// parse turns Consul's entry into a node. It returns false for a service that cannot be used at all; its problems then say
// why.
func (p parser) parse(entry *api.ServiceEntry) (Node, []Problem, bool) {
	if entry == nil || entry.Service == nil || entry.Node == nil {
		return Node{}, []Problem{{Field: "service", Reason: "half an entry; skipped"}}, false
	}
	found := &problems{service: clip(entry.Service.ID), node: clip(entry.Node.Node)}
	n := Node{Node: pool.Node{ID: found.service, Health: health(entry.Checks)}}
	if err := p.locate(&n, entry); err != nil {
		found.add("address", "%v; the service is skipped", err)
		return Node{}, found.list, false
	}
	weigh(&n, entry, found)
	p.read(entry, found).apply(&n)
	return n, found.list, true
}

// DefaultPort is IRI's own (IRI's documentation, option PORT). A service without a port gets it.
const DefaultPort = 14265

// locate reads the service's own address, or its Consul node's when it has none: an IP address, or a name that is still to
// be resolved.
func (p parser) locate(n *Node, entry *api.ServiceEntry) error {
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
	return p.checkAddr(n.Addr)
}

// hostname refuses a name that ends in a number: "10.1.2" is an address with a part missing (RFC 1123, section 2.1).
func hostname(text string) (haproxy.Hostname, error) {
	host, err := haproxy.NewHostname(text)
	if err != nil {
		return host, err
	}
	last := host.String()[strings.LastIndexByte(host.String(), '.')+1:]
	if _, err := strconv.Atoi(last); err == nil {
		return haproxy.Hostname{}, errors.New("a number is not a top-level domain")
	}
	return host, nil
}

// broadcast is IPv4's limited broadcast address.
var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// checkAddr refuses what is not the address of a single node.
func (p parser) checkAddr(addr netip.AddrPort) error {
	ip := addr.Addr()
	if ip.Zone() != "" || ip.IsUnspecified() || ip.IsMulticast() || ip == broadcast {
		return fmt.Errorf("%q is not the address of a single host", clip(ip.String()))
	}
	if addr == pool.Placeholder {
		return fmt.Errorf("%s marks an empty slot", addr)
	}
	if p.ownPort != 0 && addr.Port() == p.ownPort && isLocal(ip) {
		return fmt.Errorf("%s is this load balancer itself: requests would go round in a circle", addr)
	}
	return nil
}

// isLocal reports whether the address is one of this host's.
func isLocal(ip netip.Addr) bool {
	if ip.IsLoopback() {
		return true
	}
	local, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(local, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().Unmap() == ip
	})
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

// hasRun is false for a check that Consul runs and that has no output yet: Consul starts every such check as critical, also
// after its own restart, and that is no verdict on the node. A TTL check is set from outside, where an empty output means
// nothing, and Consul remembers it over a restart.
func hasRun(c *api.HealthCheck) bool {
	return c.Output != "" || c.Type == "" || c.Type == "ttl"
}

const (
	// defaultTimeout is Consul's for script checks, the longest of its defaults.
	defaultTimeout = 30 * time.Second
	// delivery is time for a result's way from the agent through the servers to the handler.
	delivery = 2 * time.Second
)

// defaultInterval is for a check whose interval Consul does not tell, as versions before 1.9 do not.
const defaultInterval = time.Minute

// firstCheckWithin reads how long the first result of a service's checks may take: the longest interval with its timeout.
// consul/api does not have them.
func firstCheckWithin(entry []byte) time.Duration {
	var e struct {
		Checks []struct{ Interval, Timeout string }
	}
	if err := json.Unmarshal(entry, &e); err != nil {
		return defaultInterval
	}
	var longest time.Duration
	for _, c := range e.Checks {
		interval, err := time.ParseDuration(c.Interval)
		if err != nil {
			continue
		}
		timeout, err := time.ParseDuration(c.Timeout)
		if err != nil || timeout == 0 {
			timeout = defaultTimeout
		}
		longest = max(longest, interval+timeout+delivery)
	}
	if longest == 0 {
		return defaultInterval
	}
	return longest
}

// weigh takes Consul's own weight for the state that the service is in. Where Consul has the same one for both states, nobody
// has set it (1 is its default), and the configured share for warnings holds.
func weigh(n *Node, entry *api.ServiceEntry, found *problems) {
	w := entry.Service.Weights
	n.Weight = w.Passing
	if n.Health == pool.Warning {
		n.Weight = w.Warning
		n.Reduced = w.Warning == w.Passing
	}
	if bounded := min(max(n.Weight, 0), haproxy.MaxWeight); bounded != n.Weight {
		found.add("Weights", "%d is not between 0 and %d; %d is used", n.Weight, haproxy.MaxWeight, bounded)
		n.Weight = bounded
	}
}

// clip makes foreign text fit for a log line: short, printable, on one line.
func clip(s string) string {
	const most = 100
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.Trim(strconv.Quote(s), `"`)
}
