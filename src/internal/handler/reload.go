package handler

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/runtime"
)

// Reload makes HAProxy read its configuration again without losing a slot. It
// saves the state file that the new worker reads, asks HAProxy's master for the
// reload, and gives the new worker what the state file cannot hold: maxconn.
// Passes of others wait meanwhile.
func (h *Handler) Reload(ctx context.Context) error {
	unlock, err := lock(ctx, h.cfg.HAProxy.AdminSocket)
	if err != nil {
		return err
	}
	defer unlock()
	before, old, err := h.saveState(ctx)
	if err != nil {
		return fmt.Errorf("save HAProxy's slots before the reload: %w", err)
	}
	if err := runtime.Reload(ctx, h.cfg.HAProxy.MasterSocket); err != nil {
		return err
	}
	conn, err := h.dialNew(ctx, old)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	for _, p := range h.pools {
		if err := h.restoreMaxConn(ctx, conn, p, before); err != nil {
			return fmt.Errorf("give the new worker its limits: %w", err)
		}
	}
	h.log.Info("HAProxy reloaded", "slots", len(before))
	return nil
}

// saveState writes the state file and returns what it holds, with the limits
// beside it, and the worker that said so.
func (h *Handler) saveState(ctx context.Context) (map[runtime.SlotID]runtime.Server, runtime.Worker, error) {
	conn, err := runtime.Dial(ctx, h.cfg.HAProxy.AdminSocket)
	if err != nil {
		return nil, runtime.Worker{}, err
	}
	defer func() { _ = conn.Close() }()
	info, err := conn.Info(ctx)
	if err != nil {
		return nil, runtime.Worker{}, err
	}
	slots := map[runtime.SlotID]runtime.Server{}
	for _, p := range h.pools {
		servers, err := conn.Servers(ctx, p.Backend)
		if err != nil {
			return nil, info.Worker, err
		}
		for _, s := range servers {
			slots[s.ID] = s
		}
	}
	state, err := conn.ServersState(ctx)
	if err != nil {
		return nil, info.Worker, err
	}
	return slots, info.Worker, writeFile(h.cfg.HAProxy.StateFile, state)
}

// dialNew connects to a worker that is not the old one.
func (h *Handler) dialNew(ctx context.Context, old runtime.Worker) (*runtime.Conn, error) {
	for {
		conn, err := runtime.Dial(ctx, h.cfg.HAProxy.AdminSocket)
		if err == nil {
			info, infoErr := conn.Info(ctx)
			if infoErr == nil && info.Worker != old && !info.Stopping {
				return conn, nil
			}
			_ = conn.Close()
			err = infoErr
		}
		if ctx.Err() != nil {
			return nil, errors.Join(errors.New("HAProxy shows no new worker; is its configuration valid? See journalctl -u haproxy -e"), err)
		}
		sleep(ctx, lockPoll)
	}
}

func (h *Handler) restoreMaxConn(ctx context.Context, conn *runtime.Conn, p backendPool, before map[runtime.SlotID]runtime.Server) error {
	servers, err := conn.Servers(ctx, p.Backend)
	if err != nil {
		return err
	}
	var cmds []runtime.Command
	for _, s := range servers {
		if b, ok := before[s.ID]; ok && b.Addr == s.Addr && b.MaxConn != s.MaxConn {
			cmds = append(cmds, runtime.SetMaxConn(s.ID, b.MaxConn))
		}
	}
	errs, err := conn.Apply(ctx, cmds)
	if err != nil {
		return err
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// writeFile replaces the file at once: a reader sees the old text or the new.
// HAProxy reads it as root.
func writeFile(path, text string) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = tmp.WriteString(text)
	if err == nil {
		err = tmp.Sync()
	}
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
