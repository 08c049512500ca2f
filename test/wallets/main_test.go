//go:build integration

package wallets

import (
	"testing"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m, harness.RaceBuild) }
