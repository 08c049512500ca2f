package pool

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
)

// Standing is how a node in service stands with HAProxy's own check.
type Standing int

// The standings.
const (
	// Accepted: the check passes, or there is none.
	Accepted Standing = iota
	// Awaiting: the slot was filled, and HAProxy's check has not let it in yet.
	Awaiting
	// Ejected: the check has taken the node out.
	Ejected
	// Readmitted: the node serves without HAProxy's check, because too many others are ejected.
	Readmitted
)

// Checked is the slot of a node in service: one that Consul does not call failing.
type Checked struct {
	Slot     haproxy.ServerID
	Standing Standing
	// Ejected is when HAProxy's check took the node out.
	Ejected time.Time
}

// Readmit keeps HAProxy's checks from taking out more than percent of a pool's nodes. It returns the slots to put back into
// service without the check, those ejected last, and the readmitted slots that the check may decide on again: all of them, as
// soon as the share is not exceeded even if it takes them out. A node that HAProxy has not let in yet does not count: that it
// answers here has never been seen.
func Readmit(nodes []Checked, percent int) (readmit, release []haproxy.ServerID) {
	var ejected, readmitted []Checked
	count := 0
	for _, n := range nodes {
		if n.Standing != Awaiting {
			count++
		}
		switch n.Standing {
		case Ejected:
			ejected = append(ejected, n)
		case Readmitted:
			readmitted = append(readmitted, n)
		}
	}
	allowed := count * percent / 100
	if len(ejected)+len(readmitted) <= allowed {
		return nil, ids(readmitted)
	}
	slices.SortFunc(ejected, func(a, b Checked) int {
		return cmp.Or(a.Ejected.Compare(b.Ejected), strings.Compare(a.Slot.String(), b.Slot.String()))
	})
	return ids(ejected[min(allowed, len(ejected)):]), nil
}

func ids(nodes []Checked) []haproxy.ServerID {
	var all []haproxy.ServerID
	for _, n := range nodes {
		all = append(all, n.Slot)
	}
	return all
}
