package mirror

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
	"github.com/hashicorp/go-hclog"
	"github.com/jonboulle/clockwork"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/certificate"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
)

// ReplaceCertificate gives every HAProxy the certificate and key without a reload, and puts them into the file that it reads
// at its next start.
//
// The file comes last: what a running HAProxy refuses would keep it from starting, too. Reloads wait meanwhile, so none reads
// the old file in between.
func ReplaceCertificate(ctx context.Context, sockets []string, file haproxy.Path, pair certificate.Pair, log hclog.Logger) error {
	unlock, err := lockFolder(ctx, clockwork.NewRealClock(), sockets[0])
	if err != nil {
		return err
	}
	defer unlock()
	// A full disk is noticed before HAProxy has changed.
	staged, err := stage(file.String(), pair.PEM())
	if err != nil {
		return err
	}
	defer func() { _ = staged.Cleanup() }()
	for _, path := range sockets {
		if err := offer(ctx, log.With("haproxy", path), DialSocket(path), file, pair); err != nil {
			return fmt.Errorf("%s is as it was, because HAProxy at %s did not take the certificate: %w", file, path, err)
		}
	}
	if err := staged.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	leaf := pair.Leaf()
	log.Info("certificate replaced", "file", file.String(), "subject", leaf.Subject.String(), "names", strings.Join(leaf.DNSNames, " "),
		"serial", fmt.Sprintf("%X", leaf.SerialNumber), "until", leaf.NotAfter.UTC().Format(time.RFC3339))
	return nil
}

// stage writes the text beside path, with the owner of the file that it is to replace.
func stage(path, text string) (*renameio.PendingFile, error) {
	staged, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o600), sameFolder(path))
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	_, err = staged.WriteString(text)
	if err == nil {
		err = staged.Sync()
	}
	if err == nil {
		err = keepOwner(staged.Name(), path)
	}
	if err != nil {
		_ = staged.Cleanup()
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return staged, nil
}

// sameFolder keeps the file in the folder of the one that it replaces: nobody else can write there.
func sameFolder(path string) renameio.Option { return renameio.WithTempDir(filepath.Dir(path)) }

// offer gives one HAProxy the certificate. One that does not run, or does not use it, reads the file when it needs it.
func offer(ctx context.Context, log hclog.Logger, dial Dialer, file haproxy.Path, pair certificate.Pair) error {
	conn, err := dial(ctx)
	if away(err) {
		log.Warn("HAProxy does not run; it takes the certificate at its next start", "file", file.String())
		return nil
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	err = commit(ctx, conn, file, pair)
	var refused *haproxy.CommandError
	if errors.As(err, &refused) && refused.Unused() {
		log.Warn("HAProxy does not use this certificate; it takes it at its next start with a configuration that does (haproxy_https)",
			"file", file.String())
		return nil
	}
	return err
}

// commit makes HAProxy use the pair for all new connections. HAProxy takes it as a whole or refuses it.
func commit(ctx context.Context, conn Conn, file haproxy.Path, pair certificate.Pair) error {
	one := func(cmd haproxy.Command) error {
		errs, _ := apply(ctx, conn, []haproxy.Command{cmd})
		return errs[0]
	}
	if err := one(haproxy.SetCertificate(file, pair)); err != nil {
		return err
	}
	err := one(haproxy.CommitCertificate(file))
	var refused *haproxy.CommandError
	if errors.As(err, &refused) {
		// An open transaction would block the next one.
		err = errors.Join(err, one(haproxy.AbortCertificate(file)))
	}
	return err
}

// away reports whether nobody listens on a socket.
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
