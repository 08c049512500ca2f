package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/handover"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy/socket"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/mirror"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/ports"
)

// Reload makes the first HAProxy read its configuration again without losing a slot: see mirror.Mirror.Reload. container is
// the command that HAProxy's unit starts, if it is known: where HAProxy's container is another one, it is replaced.
//
// The ports of the configuration are tried first. A new worker that cannot bind makes HAProxy pause the listeners of the old
// one, and wallets are refused for two seconds.
func (d *Daemon) Reload(ctx context.Context, container []string) error {
	with, err := d.replacement(ctx, container)
	if err != nil {
		return err
	}
	var loaded string
	begin := with.Begin
	with.Begin = func(ctx context.Context) error {
		var err error
		if loaded, err = d.cfg.HAProxy.tryPorts(); err != nil {
			return err
		}
		return begin(ctx)
	}
	if err := d.mirrors[0].Reload(ctx, d.cfg.HAProxy.StateFile, with); err != nil || loaded == "" {
		return err
	}
	return writeLoaded(d.cfg.HAProxy.StateFile, loaded)
}

// replacement is HAProxy's own reload where that is enough.
func (d *Daemon) replacement(ctx context.Context, container []string) (mirror.Replacement, error) {
	cfg := d.cfg.HAProxy
	if len(container) > 0 {
		h := &handover.Handover{Command: container, AdminSocket: cfg.AdminSockets[0], MasterSocket: cfg.MasterSocket}
		needed, err := h.Needed(ctx)
		if err != nil || needed {
			return mirror.Replacement{Begin: h.Begin, End: h.End}, err
		}
	}
	return mirror.Replacement{Begin: func(ctx context.Context) error { return socket.Reload(ctx, cfg.MasterSocket) }}, nil
}

// tryPorts returns the configuration that HAProxy will read, if this host has the ports for it.
func (c HAProxyConfig) tryPorts() (text string, err error) {
	if c.ConfigFile == "" {
		return "", nil
	}
	read, err := os.ReadFile(c.ConfigFile)
	if err != nil {
		return "", fmt.Errorf("haproxy.config_file: %w", err)
	}
	text = string(read)
	if err := ports.Check(ports.OfHAProxy(c.ConfigFile, text), ports.Listeners(append(c.AdminSockets, c.MasterSocket)...)); err != nil {
		return "", fmt.Errorf("HAProxy was not reloaded, and serves on as it was:\n%w", err)
	}
	return text, nil
}

// writeLoaded keeps what HAProxy has loaded as loaded.cfg beside the state file. The playbook compares it with the
// configuration, and puts it back after a reload that failed.
func writeLoaded(stateFile, text string) error {
	file := loadedFile(stateFile)
	err := renameio.WriteFile(file, []byte(text), 0o600, renameio.WithStaticPermissions(0o600), renameio.WithTempDir(filepath.Dir(file)))
	if err != nil {
		return fmt.Errorf("HAProxy was reloaded, but the copy of what it has loaded could not be written: %w", err)
	}
	return nil
}

// touchLoaded dates loaded.cfg after a certificate that HAProxy has taken without a reload. The playbook reloads HAProxy when
// its certificate is newer.
func touchLoaded(stateFile string) error {
	now := time.Now()
	if err := os.Chtimes(loadedFile(stateFile), now, now); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("HAProxy has the certificate, but the copy of what it has loaded could not be dated: %w", err)
	}
	return nil
}

func loadedFile(stateFile string) string { return filepath.Join(filepath.Dir(stateFile), "loaded.cfg") }
