package pool

import (
	"cmp"
	"hash/fnv"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/runtime"
)

// Placeholder is the address of a slot that nobody has. It is also the
// server-templates' init-addr: nothing listens on port 1, and the slot is in
// maintenance.
var Placeholder = netip.MustParseAddrPort("127.0.0.1:1")

// Slot is one of HAProxy's servers and what a plan needs to know of it.
type Slot struct {
	runtime.Server
	TLS    TLS
	number int
	// Expired is set when the slot has been draining longer than it may.
	Expired bool
}

// NewSlot tells a slot's kind from its name. The second result is false for a
// server that is not one of ours, such as one that an operator wrote into the
// configuration: it is left alone.
func NewSlot(s runtime.Server) (Slot, bool) {
	name := s.ID.Name()
	prefix := strings.TrimRight(name, "0123456789")
	number, err := strconv.Atoi(name[len(prefix):])
	if err != nil {
		return Slot{}, false
	}
	for _, kind := range []TLS{Plain, Verified, Unverified} {
		if kind.Prefix() == prefix {
			return Slot{Server: s, TLS: kind, number: number}, true
		}
	}
	return Slot{}, false
}

// free: out of service and without an address of its own.
func (s Slot) free() bool {
	return s.State == runtime.Maint && s.Addr == Placeholder
}

// probe is the order in which a node tries the slots of its kind. It depends on
// nothing but its address and their number, so load balancers that saw
// different histories still agree for all nodes but colliding ones.
func probe(addr netip.AddrPort, slots []*Slot) []*Slot {
	if len(slots) == 0 {
		return nil
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(addr.String()))
	first := int(h.Sum64() % uint64(len(slots)))
	return append(slices.Clone(slots[first:]), slots[:first]...)
}

func byNumber(a, b *Slot) int { return cmp.Compare(a.number, b.number) }
