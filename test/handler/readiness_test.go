//go:build integration

package handler

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

func TestReadinessSaysWhatIsMissing(t *testing.T) {
	h := harness.StartHAProxy(t, harness.WithSlots(20), harness.WithoutHealthChecks())
	b := harness.JoinBed(t, &harness.Consul{Address: nobody}, h)
	b.Run(t)
	harness.Eventually(t, 10*time.Second, "Consul's failure is reported", func() error {
		if code, body := b.Get(t, "/readyz"); code != 503 || !strings.Contains(body, "Consul: ") || !strings.Contains(body, "connection refused") {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
	code, _ := b.Get(t, "/healthz")
	assert.Equal(t, 200, code, "alive although not ready")
	_, metrics := b.Get(t, "/metrics")
	assert.Contains(t, metrics, `iri_lb_handler_last_success_timestamp_seconds{socket="`+h.AdminSocket()+`"} 0`)
}
