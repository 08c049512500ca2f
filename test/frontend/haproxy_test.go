//go:build integration

package frontend

import (
	"testing"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// startHAProxy runs a HAProxy as installed, but that nobody is whitelisted and HAProxy does not check the nodes, unless
// the variables say so.
func startHAProxy(t *testing.T, vars harness.Vars) *harness.HAProxy {
	t.Helper()
	return harness.StartHAProxy(t, withVars(vars)...)
}

func withVars(vars harness.Vars) []harness.Option {
	return []harness.Option{harness.WithoutHealthChecks(), harness.WithVars(harness.Vars{"haproxy_whitelist": []string{}}), harness.WithVars(vars)}
}
