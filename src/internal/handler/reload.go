package handler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/runtime"
)

// Reload makes the first HAProxy read its configuration again without losing a
// slot. It saves the files that the new worker reads, asks HAProxy's master for
// the reload, and gives the new worker what no file can hold: maxconn. Passes of
// others wait meanwhile.
func (h *Handler) Reload(ctx context.Context) error {
	t := h.targets[0]
	unlock, err := lock(ctx, t.socket)
	if err != nil {
		return err
	}
	defer unlock()
	defer t.drop()
	before, err := t.save(ctx)
	if err != nil {
		return fmt.Errorf("save HAProxy's slots before the reload: %w", err)
	}
	old := t.worker
	if err := runtime.Reload(ctx, h.cfg.HAProxy.MasterSocket); err != nil {
		return err
	}
	if err := t.dialNew(ctx, old); err != nil {
		return err
	}
	if err := t.restoreMaxConn(ctx, before); err != nil {
		return fmt.Errorf("give the new worker its limits: %w", err)
	}
	h.log.Info("HAProxy reloaded", "slots", len(before))
	return nil
}

// save writes the state file and the maps of server names, and returns each
// slot's address and limit.
func (t *target) save(ctx context.Context) (map[runtime.SlotID]runtime.Server, error) {
	servers, err := t.observe(ctx)
	if err != nil {
		return nil, err
	}
	slots := map[runtime.SlotID]runtime.Server{}
	for i, p := range t.pools {
		d, _, err := t.read(ctx, p)
		if err != nil {
			return nil, err
		}
		for _, s := range servers[i] {
			s.MaxConn = d.maxConn[s.ID]
			slots[s.ID] = s
		}
		if p.SNIMap == "" {
			continue
		}
		var names strings.Builder
		for _, slot := range slices.Sorted(maps.Keys(d.sni)) {
			fmt.Fprintln(&names, slot, d.sni[slot])
		}
		if err := writeFile(p.SNIMap, names.String()); err != nil {
			return nil, err
		}
	}
	state, err := t.conn.ServersState(ctx)
	if err != nil {
		return nil, err
	}
	return slots, writeFile(t.cfg.HAProxy.StateFile, state)
}

// dialNew connects to a worker that is not the old one.
func (t *target) dialNew(ctx context.Context, old runtime.Worker) error {
	t.drop()
	for {
		_, err := t.observe(ctx)
		if err == nil && t.worker != old {
			return nil
		}
		t.drop()
		if ctx.Err() != nil {
			return errors.Join(errors.New("HAProxy shows no new worker; is its configuration valid? See journalctl -u haproxy -e"), err)
		}
		sleep(ctx, redial)
	}
}

func (t *target) restoreMaxConn(ctx context.Context, before map[runtime.SlotID]runtime.Server) error {
	servers, err := t.observe(ctx)
	if err != nil {
		return err
	}
	var cmds []runtime.Command
	for i, p := range t.pools {
		d, _, err := t.read(ctx, p)
		if err != nil {
			return err
		}
		for _, s := range servers[i] {
			if b, ok := before[s.ID]; ok && b.Addr == s.Addr && b.MaxConn != d.maxConn[s.ID] {
				cmds = append(cmds, runtime.SetMaxConn(s.ID, b.MaxConn))
			}
		}
	}
	errs, err := t.conn.Apply(ctx, cmds)
	return errors.Join(append(errs, err)...)
}

// writeFile replaces the file at once: a reader sees the old text or the new.
// HAProxy reads it as root.
func writeFile(path, text string) error {
	staged, err := stageFile(path, text)
	if err != nil {
		return err
	}
	if err := os.Rename(staged, path); err != nil {
		_ = os.Remove(staged)
		return err
	}
	return nil
}

// stageFile writes a file beside path that a rename can put in its place. Only
// its owner may read it.
func stageFile(path, text string) (staged string, err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return "", err
	}
	_, err = tmp.WriteString(text)
	if err == nil {
		err = tmp.Sync()
	}
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return "", fmt.Errorf("write %s: %w", path, err)
	}
	return tmp.Name(), nil
}
