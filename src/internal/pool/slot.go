package pool

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
)

// Placeholder is the address of a free slot. It is also the server-templates' init-addr: nothing listens on port 1, and
// the slot is in maintenance.
var Placeholder = netip.MustParseAddrPort("127.0.0.1:1")

// overflow is part of the names of servers that were added at runtime because the slots of the configuration were not
// enough: "http-overflow1".
const overflow = "-overflow"

// Slot is one of HAProxy's servers with what a plan needs to know of it.
type Slot struct {
	haproxy.Server
	TLS TLS
	// Added is set for a server that was added at runtime: it is removed when nobody needs it, and a reload of HAProxy
	// forgets it.
	Added  bool
	number int
	// Expired is set when the slot has drained for longer than it may.
	Expired bool
	// Readmitted is set while the handler keeps HAProxy's check of the slot off: see Readmit.
	Readmitted bool
}

// NewSlot tells a slot's kind from its name. The second result is false for a server that is none of ours, such as one that
// an operator wrote into the configuration: it is left alone.
func NewSlot(s haproxy.Server) (Slot, bool) {
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

// Free reports whether nobody has the slot: it is out of service and has no address of its own.
func (s Slot) Free() bool {
	return s.State == haproxy.Maint && s.Addr == Placeholder
}

// Usable reports whether a new request can be sent to the slot.
func (s Slot) Usable() bool { return s.State == haproxy.Ready && s.Up && s.Addr != Placeholder }

// Backend is one backend as HAProxy has it.
type Backend struct {
	Name  string
	Slots []Slot
	// Queued is how many requests wait for any of its servers.
	Queued int
	// MayGrow lets nodes that find no slot have a server of their own, added at runtime.
	MayGrow bool
	// CAFile and SNIMap are those of its server-templates.
	CAFile, SNIMap haproxy.Path
}
