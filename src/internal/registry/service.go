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

// add notes what is wrong with a field, and what happens now.
func (p *problems) add(field string, wrong error, effect string) {
	p.list = append(p.list, Problem{Service: p.service, Node: p.node, Field: field, Reason: fmt.Sprintf("%v; %s", wrong, effect), Wrong: wrong.Error()})
}

// parse turns Consul's entry into a node. It returns false for a service that cannot be used at all; its problems then say
// why.
func (p parser) parse(entry *api.ServiceEntry) (Node, []Problem, bool) {
	if entry == nil || entry.Service == nil || entry.Node == nil {
		return Node{}, []Problem{{Field: "service", Reason: "half an entry; skipped"}}, false
	}
	found := &problems{service: haproxy.Printable(entry.Service.ID), node: haproxy.Printable(entry.Node.Node)}
	n := Node{Node: pool.Node{ID: found.service, Health: health(entry.Checks)}, Agent: found.node}
	if err := p.locate(&n, entry); err != nil {
		found.add("address", err, "the service is skipped")
		return Node{}, found.list, false
	}
	s := p.read(entry, found)
	weigh(&n, entry, found)
	s.apply(&n)
	if entry.Node.Node == CatalogNode {
		n.Agent, n.Check = "", readCheck(entry, found)
		n.Check.Passing, n.Check.Warning = s.share(n, entry, pool.Passing), s.share(n, entry, pool.Warning)
	}
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
			return fmt.Errorf("%q is neither an IP address nor a host name", haproxy.Printable(text))
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
		return fmt.Errorf("%q is not the address of a single host", haproxy.Printable(ip.String()))
	}
	if addr == pool.Placeholder {
		return fmt.Errorf("%s marks an empty slot", addr)
	}
	if p.ownPort != 0 && addr.Port() == p.ownPort && IsLocal(ip) {
		return fmt.Errorf("%s is this load balancer itself: requests would go round in a circle", addr)
	}
	return nil
}

// IsLocal reports whether the address is one of this host's.
func IsLocal(ip netip.Addr) bool {
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

// AgentLiveness is the ID of the check by which Consul's servers note that an agent is alive.
const AgentLiveness = "serfHealth"

// health is the worst of the service's and its Consul node's checks. That the agent has died says nothing about the nodes
// that are registered there: the last verdict of their own checks stays.
func health(checks api.HealthChecks) pool.Health {
	counted := make(api.HealthChecks, 0, len(checks))
	for _, c := range checks {
		if c.CheckID != AgentLiveness {
			counted = append(counted, c)
		}
	}
	switch counted.AggregatedStatus() {
	case api.HealthPassing:
		return pool.Passing
	case api.HealthWarning:
		return pool.Warning
	case api.HealthMaint:
		return pool.Maintenance
	}
	for _, c := range counted {
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

// defaultTimeout is Consul's for script checks, the longest of its defaults.
const defaultTimeout = 30 * time.Second

// defaultInterval is for a check whose interval Consul does not tell, as versions before 1.9 do not.
const defaultInterval = time.Minute

// firstCheckWithin reads how long the first result of a service's checks may take: the longest interval with its timeout.
// consul/api does not have them. It is 0 while the agent is dead: no result can come then, and none is overdue.
func firstCheckWithin(entry []byte) time.Duration {
	var e struct {
		Checks []struct{ CheckID, Status, Interval, Timeout string }
	}
	if err := json.Unmarshal(entry, &e); err != nil {
		return defaultInterval
	}
	var longest time.Duration
	for _, c := range e.Checks {
		if c.CheckID == AgentLiveness && c.Status != api.HealthPassing {
			return 0
		}
		interval, err := time.ParseDuration(c.Interval)
		if err != nil {
			continue
		}
		timeout, err := time.ParseDuration(c.Timeout)
		if err != nil || timeout == 0 {
			timeout = defaultTimeout
		}
		longest = max(longest, interval+timeout)
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
		found.add("Weights", fmt.Errorf("%d is not between 0 and %d", n.Weight, haproxy.MaxWeight), fmt.Sprintf("%d is used", bounded))
		n.Weight = bounded
	}
}

// share is what the node gets in a state that it may come to be in.
func (s settings) share(n Node, entry *api.ServiceEntry, in pool.Health) Share {
	n.Health = in
	weigh(&n, entry, &problems{}) // what is wrong is found elsewhere
	s.apply(&n)
	return Share{n.Weight, n.Reduced}
}
