package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Base is the commit whose configuration of HAProxy measurements compare with: the last one before failing requests were
// repeated, or what FAILURES_BASE says.
func Base() string {
	if commit := os.Getenv("FAILURES_BASE"); commit != "" {
		return commit
	}
	return "3a8f6d1"
}

// WithBase takes the template and the variables as of Base.
func WithBase(t *testing.T) Option {
	t.Helper()
	folder := baseTree(t)
	return func(o *options) { o.tree = folder }
}

// baseTree writes what HAProxy's configuration is made from into a folder.
func baseTree(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	archive := filepath.Join(folder, "base.tar")
	out, err := exec.Command("git", "-C", Root(), "archive", "--output", archive, Base(), "--",
		"templates", "group_vars", "roles/haproxy/vars", "test/harness/testdata").CombinedOutput()
	require.NoError(t, err, "the commit to compare with, %s, is needed (git fetch --unshallow, or another one in FAILURES_BASE): %s", Base(), out)
	out, err = exec.Command("tar", "--extract", "--file", archive, "--directory", folder).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return folder
}
