package mirror

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
)

// correct readmits nodes while too many are ejected, and lets HAProxy's check decide again where it may.
func (m *Mirror) correct(ctx context.Context, p Pool, proven []pool.In) error {
	slots := m.ejections.slots[p.Name]
	readmit, release := pool.Readmit(standings(slots), m.opts.MaxEjectedPercent)
	if len(release) == 0 {
		release = trials(slots, proven)
	}
	if len(readmit)+len(release) == 0 {
		return nil
	}
	unlock, err := m.lock(ctx)
	if err != nil {
		return nil // somebody else has it for long: the next poll decides again
	}
	defer unlock()
	servers, err := m.session.reread(ctx, p)
	if err != nil {
		return err
	}
	m.session.cache.servers = nil // they change
	for _, s := range servers {
		f := slots[s.ID]
		switch {
		case f == nil || f.addr != s.Addr || s.State != haproxy.Ready: // it has changed meanwhile
		case slices.Contains(readmit, s.ID) && !s.Up:
			err = m.tellHAProxy(ctx, p, f.readmit, haproxy.DisableCheck(s.ID), haproxy.SetUp(s.ID))
		case slices.Contains(release, s.ID) && s.CheckDisabled:
			err = m.tellHAProxy(ctx, p, f.release, haproxy.EnableCheck(s.ID))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// trials chooses, of the readmitted nodes that answer, those on which HAProxy's check may decide again. At most half of the
// readmitted nodes are on trial at a time: the check may fail all of them at once, and nobody would serve.
func trials(slots map[haproxy.ServerID]*followed, proven []pool.In) (chosen []haproxy.ServerID) {
	readmitted, running := 0, 0
	for _, f := range slots {
		switch {
		case f.trial:
			running++
		case f.Standing == pool.Readmitted:
			readmitted++
		}
	}
	most := max(1, (readmitted+running)/2)
	for _, in := range proven {
		if f := slots[in.Slot]; running < most && f != nil && f.addr == in.Addr && f.Standing == pool.Readmitted {
			chosen = append(chosen, in.Slot)
			running++
		}
	}
	return chosen
}

// tellHAProxy sends commands, and calls done when HAProxy has taken all of them. The error is that of the connection.
func (m *Mirror) tellHAProxy(ctx context.Context, p Pool, done func(time.Time), cmds ...haproxy.Command) error {
	errs, err := m.session.apply(ctx, cmds)
	if err != nil {
		return err
	}
	m.ejections.report.executed(p, cmds, errs)
	if errors.Join(errs...) == nil {
		done(m.clock.Now())
	}
	return nil
}

func standings(slots map[haproxy.ServerID]*followed) []pool.Checked {
	all := make([]pool.Checked, 0, len(slots))
	for _, f := range slots {
		all = append(all, f.Checked)
	}
	return all
}

// questions are the readmitted nodes that are to be queried now.
func (e *ejections) questions(p Pool, now time.Time) (due []pool.In) {
	var members map[netip.AddrPort]pool.Node
	for _, f := range e.slots[p.Name] {
		if f.Standing != pool.Readmitted || now.Before(f.probe) {
			continue
		}
		if members == nil {
			members = e.members(p)
		}
		n := members[f.addr]
		f.probe = now.Add(max(f.pause, minProbePause))
		due = append(due, pool.In{Slot: f.Slot, Addr: f.addr, TLS: n.TLS, SNI: n.SNI})
	}
	return due
}
