//go:build integration

package handler

import (
	"testing"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// newBed is what most tests start with: 20 slots that serve as soon as the handler fills them.
func newBed(t *testing.T) *harness.Bed {
	t.Helper()
	return harness.NewBed(t, harness.WithSlots(20), harness.WithoutHealthChecks())
}
