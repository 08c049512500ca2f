package mirror

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/sleep"
)

// Replacement puts a new worker in the place of HAProxy's present one.
type Replacement struct {
	// Begin starts the new worker.
	Begin func(context.Context) error
	// End is called when the new worker is like the old one, or with the reason why it is not. nil: HAProxy needs no more help.
	End func(context.Context, error) error
}

// Reload makes HAProxy read its configuration again without losing a slot. It writes the files that the new worker reads,
// begins the replacement, and gives the new worker what no file can hold: maxconn. Other callers wait meanwhile.
func (m *Mirror) Reload(ctx context.Context, stateFile string, with Replacement) error {
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	defer m.session.drop()
	before, err := m.save(ctx, stateFile)
	if err != nil {
		return fmt.Errorf("save HAProxy's slots before the reload: %w", err)
	}
	old := m.session.worker
	if err := with.Begin(ctx); err != nil {
		return err
	}
	now, err := m.prepare(ctx, old, before)
	if with.End != nil {
		err = with.End(ctx, err)
	}
	if err == nil {
		m.log.Info("HAProxy reloaded", "slots_before", len(before), "slots_now", now)
	}
	return err
}

// prepare makes the new worker like the old one, and returns how many slots it has.
func (m *Mirror) prepare(ctx context.Context, old haproxy.Worker, before map[haproxy.ServerID]haproxy.Server) (now int, err error) {
	if err := m.awaitNewWorker(ctx, old); err != nil {
		return 0, err
	}
	if now, err = m.restoreMaxConn(ctx, before); err != nil {
		return 0, fmt.Errorf("give the new worker its limits: %w", err)
	}
	return now, nil
}

// save writes the state file and the maps of server names, and returns each server's address and limit. The new
// configuration may have pools that HAProxy does not have yet.
func (m *Mirror) save(ctx context.Context, stateFile string) (map[haproxy.ServerID]haproxy.Server, error) {
	servers, err := m.session.present(ctx)
	if err != nil {
		return nil, err
	}
	slots := map[haproxy.ServerID]haproxy.Server{}
	for _, p := range m.opts.Pools {
		present, ok := servers[p.Backend.String()]
		if !ok {
			continue
		}
		d, _, err := m.session.details(ctx, p)
		if err != nil {
			return nil, err
		}
		for _, s := range present {
			s.MaxConn = d.maxConn[s.ID]
			slots[s.ID] = s
		}
		if p.SNIMap == (haproxy.Path{}) {
			continue
		}
		if err := writeFile(p.SNIMap.String(), sniFile(d.sni)); err != nil {
			return nil, err
		}
	}
	replies, err := m.session.query(ctx, haproxy.ShowServersState(haproxy.BackendName{}))
	if err != nil {
		return nil, err
	}
	return slots, writeFile(stateFile, replies[0])
}

// sniFile is the text of a map file: a slot and its name on each line.
func sniFile(names map[string]string) string {
	var text strings.Builder
	for _, slot := range slices.Sorted(maps.Keys(names)) {
		fmt.Fprintln(&text, slot, names[slot])
	}
	return text.String()
}

// awaitNewWorker connects to a worker that is not the old one.
func (m *Mirror) awaitNewWorker(ctx context.Context, old haproxy.Worker) error {
	m.session.drop()
	for {
		_, err := m.session.observe(ctx)
		if err == nil && m.session.worker != old {
			return nil
		}
		m.session.drop()
		if ctx.Err() != nil {
			return errors.Join(errors.New("HAProxy shows no new worker; is its configuration valid? See journalctl -u haproxy -e"), err)
		}
		sleep.Context(ctx, m.clock, redialInterval)
	}
}

// restoreMaxConn returns how many servers the new worker has: those that were added at runtime are missing until the next
// reconciliation.
func (m *Mirror) restoreMaxConn(ctx context.Context, before map[haproxy.ServerID]haproxy.Server) (now int, err error) {
	servers, err := m.session.observe(ctx)
	if err != nil {
		return 0, err
	}
	var cmds []haproxy.Command
	for i, p := range m.opts.Pools {
		d, _, err := m.session.details(ctx, p)
		if err != nil {
			return 0, err
		}
		now += len(servers[i])
		for _, s := range servers[i] {
			if b, ok := before[s.ID]; ok && b.Addr == s.Addr && b.MaxConn != d.maxConn[s.ID] {
				cmds = append(cmds, haproxy.SetMaxConn(s.ID, b.MaxConn))
			}
		}
	}
	errs, err := m.session.apply(ctx, cmds)
	return now, errors.Join(append(errs, err)...)
}

// writeFile replaces the file in one step: a reader sees the old text or the new. Only its owner may read it; HAProxy does as
// root.
func writeFile(path, text string) error {
	if err := renameio.WriteFile(path, []byte(text), 0o600, renameio.WithStaticPermissions(0o600), sameFolder(path)); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
