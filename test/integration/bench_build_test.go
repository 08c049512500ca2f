//go:build integration && bench

package integration

// buildFlags: what is measured is built like a release (make build).
var buildFlags = []string{"-trimpath", "-ldflags", "-s -w"}

const buildsWithC = false
