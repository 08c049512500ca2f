package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOnlyWhatStandsBetweenTheMarkersIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "docs", "performance.md")
	read := func() string {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		return string(text)
	}
	require.NoError(t, writeBetween(path, "first\n"))
	assert.Equal(t, "# Performance\n\n"+begin+"first\n"+end, read(), "a new file")

	require.NoError(t, os.WriteFile(path, []byte("# Others\n\nbefore\n"+begin+"old\n"+end+"after\n"), 0o644))
	require.NoError(t, writeBetween(path, "new\n"))
	assert.Equal(t, "# Others\n\nbefore\n"+begin+"new\n"+end+"after\n", read())

	require.NoError(t, os.WriteFile(path, []byte("# Others\n"), 0o644))
	require.NoError(t, writeBetween(path, "new\n"))
	assert.Equal(t, "# Others\n\n"+begin+"new\n"+end, read(), "a file without markers")

	require.NoError(t, os.WriteFile(path, []byte(begin+"cut off"), 0o644))
	assert.ErrorContains(t, writeBetween(path, "new\n"), "has \"<!-- bench-check -->\\n\" and not")
	assert.Equal(t, begin+"cut off", read())
}

func TestTheCPUTimeOfARunningProcess(t *testing.T) {
	before, err := cpuOf(os.Getpid())
	require.NoError(t, err)
	for range 300_000_000 { // some ten milliseconds at least
		_ = before
	}
	after, err := cpuOf(os.Getpid())
	require.NoError(t, err)
	assert.Greater(t, after, before)
	peak, err := peakOf(os.Getpid())
	require.NoError(t, err)
	assert.Positive(t, peak)
}
