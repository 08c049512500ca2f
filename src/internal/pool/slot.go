package pool

import (
	"cmp"
	"hash/fnv"
	"iter"
	"net/netip"
	"strconv"
	"strings"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/runtime"
)

// Placeholder is the address of a slot that nobody has. It is also the
// server-templates' init-addr: nothing listens on port 1, and the slot is in
// maintenance.
var Placeholder = netip.MustParseAddrPort("127.0.0.1:1")

// overflow stands in the names of the servers that were added at runtime, when
// the slots of the configuration were not enough: "http-overflow1".
const overflow = "-overflow"

// Slot is one of HAProxy's servers and what a plan needs to know of it.
type Slot struct {
	runtime.Server
	TLS TLS
	// Added at runtime: it is removed when nobody needs it, and a reload of
	// HAProxy forgets it.
	Added  bool
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
	prefix, added := strings.CutSuffix(prefix, overflow)
	for _, kind := range []TLS{Plain, Verified, Unverified} {
		if kind.Prefix() == prefix {
			return Slot{Server: s, TLS: kind, Added: added, number: number}, true
		}
	}
	return Slot{}, false
}

// free: out of service and without an address of its own.
func (s Slot) free() bool {
	return s.State == runtime.Maint && s.Addr == Placeholder
}

// usable: a new request can be sent to it.
func (s Slot) usable() bool { return s.State == runtime.Ready && s.Up && s.Addr != Placeholder }

// Backend is one backend as HAProxy has it.
type Backend struct {
	Name  string
	Slots []Slot
	// Queued is how many requests wait for any of its servers.
	Queued int
	// MayGrow: nodes that find no slot get a server of their own at runtime.
	MayGrow bool
	// CAFile and SNIMap are those of its server-templates.
	CAFile, SNIMap runtime.MapFile
}

// probe is the order in which a node tries the slots of its kind. It depends on
// nothing but its address and their number, so load balancers that saw
// different histories still agree for all nodes but colliding ones.
func probe(addr netip.AddrPort, slots []*Slot) iter.Seq[*Slot] {
	return func(yield func(*Slot) bool) {
		if len(slots) == 0 {
			return
		}
		h := fnv.New64a()
		_, _ = h.Write([]byte(addr.String()))
		first := int(h.Sum64() % uint64(len(slots)))
		for i := range slots {
			if !yield(slots[(first+i)%len(slots)]) {
				return
			}
		}
	}
}

func byNumber(a, b *Slot) int { return cmp.Compare(a.number, b.number) }
