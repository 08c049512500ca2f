package iri_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iri"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/iritest"
)

// file writes a file and returns its path.
func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func TestReadUserAcceptsOneLine(t *testing.T) {
	for content, want := range map[string][2]string{
		"me:secret":             {"me", "secret"},
		"me:secret\n":           {"me", "secret"},
		"me:secret\r\n":         {"me", "secret"},
		"me:with:colon and ü\n": {"me", "with:colon and ü"},
		"me:\n":                 {"me", ""},
	} {
		user, password, err := iri.ReadUser(file(t, content))
		require.NoError(t, err, "%q", content)
		assert.Equal(t, want, [2]string{user, password}, "%q", content)
	}
}

func TestReadUserRefusesOtherFilesWithoutQuotingThem(t *testing.T) {
	for content, want := range map[string]string{
		"":                              "does not have the form USER:PASSWORD",
		"S3cr3t\n":                      "does not have the form USER:PASSWORD",
		":S3cr3t\n":                     "does not have the form USER:PASSWORD",
		"me:S3cr3t\nyou:S3cr3t\n":       "more than one line",
		"me:S3cr3t\x00":                 "more than one line",
		strings.Repeat("S3cr3t", 1<<20): "larger than 4 MiB",
	} {
		path := file(t, content)
		_, _, err := iri.ReadUser(path)
		require.ErrorContains(t, err, want)
		assert.ErrorContains(t, err, path)
		assert.NotContains(t, err.Error(), "S3cr3t")
	}
	_, _, err := iri.ReadUser("/missing")
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestReadRootsNeedsACertificate(t *testing.T) {
	_, err := iri.ReadRoots(file(t, string(iritest.NewAuthority().PEM())))
	require.NoError(t, err)
	_, err = iri.ReadRoots(file(t, "-----BEGIN NOTHING-----\n"))
	require.ErrorContains(t, err, "contains no certificate")
	_, err = iri.ReadRoots("/missing")
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = iri.ReadRoots(t.TempDir())
	assert.ErrorContains(t, err, "is a directory")
}

func TestReadCertificateNeedsAMatchingKey(t *testing.T) {
	authority, end := iritest.NewAuthority(), time.Now().Add(time.Hour)
	cert, key := iritest.PEM(authority.Certificate(end, "lb.example.org"))
	_, otherKey := iritest.PEM(authority.Certificate(end, "lb.example.org"))
	pair, err := iri.ReadCertificate(file(t, string(cert)), file(t, string(key)))
	require.NoError(t, err)
	assert.Len(t, pair.Certificate, 1)
	path := file(t, string(cert))
	_, err = iri.ReadCertificate(path, file(t, string(otherKey)))
	assert.ErrorContains(t, err, "certificate "+path+" and key ")
}
