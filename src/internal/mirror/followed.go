package mirror

import (
	"net/netip"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
)

const (
	// firstCheckTimeout is how long a slot that was filled may wait for its first good check before that is worth a line.
	firstCheckTimeout = 15 * time.Second
	// trialTime is how long a check that decides again has to pass until the node has returned.
	trialTime = 15 * time.Second
	// Bounds of the pause between two queries of a readmitted node. It grows while HAProxy's check fails although the node
	// answers the handler.
	minProbePause = time.Second
	maxProbePause = time.Minute
)

// followed is a slot in service and the node that has it.
type followed struct {
	pool.Checked
	addr netip.AddrPort
	// retries is HAProxy's counter at the last poll, -1 for none.
	retries int
	// since is when the slot was filled, or when HAProxy's check was switched on again.
	since time.Time
	// trial is set while the check of a node that was readmitted decides again: a failure belongs to the old ejection.
	trial bool
	// open is an ejection that has not ended, told is set when it was logged.
	open, told bool
	// failed is the check that took the node out.
	failed haproxy.CheckedServer
	// probe is when a readmitted node is queried next, and pause how long after the last query.
	probe time.Time
	pause time.Duration
}

// repeated is how many requests were repeated since the last poll. The counters of a new worker begin at 0.
func (f *followed) repeated(retries int, sameWorker bool) int {
	before := f.retries
	f.retries = retries
	switch {
	case before < 0:
		return 0
	case sameWorker && retries >= before:
		return retries - before
	}
	return retries
}

// update is what HAProxy says of the slot now.
func (f *followed) update(s haproxy.CheckedServer, now time.Time) {
	switch {
	case s.State != haproxy.CheckDown:
		f.up(s, now)
	case f.Standing == pool.Awaiting:
		if !f.open && s.Failed() && now.Sub(f.since) >= firstCheckTimeout {
			f.Ejected, f.failed = f.since, s
			f.open, f.told = true, false
		}
	case f.Standing == pool.Readmitted || f.trial:
		f.Standing, f.trial = pool.Ejected, false
		f.pause = min(2*max(f.pause, minProbePause), maxProbePause)
	case f.Standing != pool.Ejected:
		f.Standing, f.Ejected, f.failed = pool.Ejected, now.Add(-s.Since), s
		f.open, f.told = true, false
	case f.failed.Running && s.Failed():
		f.failed = s
	}
}

func (f *followed) up(s haproxy.CheckedServer, now time.Time) {
	switch {
	case s.State == haproxy.CheckOff && (f.Standing == pool.Ejected || f.Standing == pool.Readmitted):
		f.Standing = pool.Readmitted
	case f.Standing == pool.Readmitted: // a reload, or somebody else, has switched its check on
		f.release(now)
	default:
		f.Standing = pool.Accepted
	}
	if f.trial && now.Sub(f.since) >= trialTime {
		f.trial, f.pause = false, 0
	}
}

// release lets HAProxy's check decide again.
func (f *followed) release(now time.Time) { f.Standing, f.trial, f.since = pool.Accepted, true, now }

// readmit puts the node back into service.
func (f *followed) readmit(now time.Time) {
	f.Standing, f.pause = pool.Readmitted, max(f.pause, minProbePause)
	f.probe = now.Add(f.pause)
}
