//go:build integration && !bench

package integration

// buildFlags: the programs under test are built with the race detector.
var buildFlags = []string{"-race"}

const buildsWithC = true
