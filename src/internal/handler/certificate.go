package handler

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/certificate"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/runtime"
)

// ReplaceCertificate gives every HAProxy the certificate and key of two PEM files
// without a reload, and puts them into the file that it reads at its next start.
//
// The file comes last: what a running HAProxy refuses would keep it from
// starting, too. Reloads wait meanwhile, so none reads the old file in between.
func ReplaceCertificate(ctx context.Context, cfg Config, log hclog.Logger, certFile, keyFile string) error {
	pair, err := certificate.Load(certFile, keyFile, time.Now())
	if err != nil {
		return err
	}
	file, err := runtime.NewMapFile(cfg.HAProxy.Certificate)
	if err != nil {
		return fmt.Errorf("haproxy.certificate: %w", err)
	}
	unlock, err := lock(ctx, cfg.HAProxy.AdminSockets[0])
	if err != nil {
		return err
	}
	defer unlock()
	// A full disk is noticed before HAProxy has changed.
	staged, err := stageFile(file.String(), pair.PEM())
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(staged) }() // it is gone when all went well
	if err := keepOwner(staged, file.String()); err != nil {
		return err
	}
	for _, socket := range cfg.HAProxy.AdminSockets {
		if err := offer(ctx, log.With("haproxy", socket), socket, file, pair); err != nil {
			return fmt.Errorf("%s is as it was, because HAProxy at %s did not take the certificate: %w", file, socket, err)
		}
	}
	if err := os.Rename(staged, file.String()); err != nil {
		return err
	}
	leaf := pair.Leaf()
	log.Info("certificate replaced", "file", file.String(), "subject", leaf.Subject.String(), "names", strings.Join(leaf.DNSNames, " "),
		"serial", fmt.Sprintf("%X", leaf.SerialNumber), "until", leaf.NotAfter.UTC().Format(time.RFC3339))
	return nil
}

// offer gives one HAProxy the certificate. One that does not run, or does not use
// it, reads the file when it needs it.
func offer(ctx context.Context, log hclog.Logger, socket string, file runtime.MapFile, pair certificate.Pair) error {
	conn, err := runtime.Dial(ctx, socket)
	if away(err) {
		log.Warn("HAProxy does not run; it takes the certificate at its next start", "file", file.String())
		return nil
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	err = conn.Certificate(ctx, file, pair)
	var refused *runtime.CommandError
	if errors.As(err, &refused) && refused.Unused() {
		log.Warn("HAProxy does not use this certificate; it takes it at its next start with a configuration that does (haproxy_https)",
			"file", file.String())
		return nil
	}
	return err
}

// away says that nobody listens on a socket.
func away(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" && (errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED))
}

// keepOwner gives a file the owner of the one that it is to replace.
func keepOwner(staged, path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if old, ok := info.Sys().(*syscall.Stat_t); ok {
		return os.Chown(staged, int(old.Uid), int(old.Gid))
	}
	return nil
}
