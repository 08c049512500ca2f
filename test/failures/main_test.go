//go:build integration

package failures

import (
	"testing"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m, harness.ReleaseBuild) }
