package preflight

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/haproxy"
)

// judge has the image that will run the configuration check it. The container sees copies of the folders of this host,
// because lines of the users' own may name files in them.
func (h HAProxy) judge(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "iri-lb-preflight")
	if err != nil {
		return fmt.Errorf("check HAProxy's configuration: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	mounts, err := h.lay(dir)
	if err != nil {
		return fmt.Errorf("check HAProxy's configuration: %w", err)
	}
	args := append([]string{"run", "--rm", "--network", "none", "--user", "0", "--entrypoint", "haproxy"}, mounts...)
	var said strings.Builder
	cmd := exec.CommandContext(ctx, "docker", append(args, h.Image, "-c", "-f", h.ConfigFile)...)
	cmd.Stdout, cmd.Stderr = &said, &said
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit) && exit.ExitCode() == 1: // HAProxy's own; Docker's are 125 and more
		return errors.New(haproxy.ReadOrigins(h.Configuration).Complaint(h.ConfigFile, said.String()))
	}
	return fmt.Errorf("check HAProxy's configuration with the image %s: %w\n%s", h.Image, err, said.String())
}

// lay copies the folders below dir, fills their gaps, and returns the container's mounts.
func (h HAProxy) lay(dir string) (mounts []string, err error) {
	for _, folder := range h.Folders {
		if err := copyFolder(folder, filepath.Join(dir, folder)); err != nil {
			return nil, err
		}
		mounts = append(mounts, mount(filepath.Join(dir, folder), folder)...)
	}
	for _, file := range h.Files {
		if err := standIn(filepath.Join(dir, file), ""); err != nil {
			return nil, err
		}
	}
	pair, err := newCertificate()
	if err != nil {
		return nil, err
	}
	for _, file := range h.Certificates {
		if err := standIn(filepath.Join(dir, file), pair); err != nil {
			return nil, err
		}
	}
	authorities := h.Authorities
	if _, err := os.Stat(authorities); err != nil {
		authorities = filepath.Join(dir, h.Authorities)
		if err := standIn(authorities, pair); err != nil {
			return nil, err
		}
	}
	mounts = append(mounts, mount(authorities, h.Authorities)...)
	return mounts, os.WriteFile(filepath.Join(dir, h.ConfigFile), []byte(h.Configuration), 0o600)
}

func mount(from, to string) []string {
	return []string{"--mount", "type=bind,src=" + from + ",dst=" + to + ",readonly"}
}

// copyFolder copies a folder, which may not exist yet.
func copyFolder(from, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	if _, err := os.Stat(from); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return os.CopyFS(to, os.DirFS(from))
}
