//go:build integration

package frontend

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hashicorp/consul/api"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// TestConfiguration: HAProxy accepts the configuration without a warning, whatever an operator sets.
func TestConfiguration(t *testing.T) {
	hash := hashOf(t, "secret")
	for name, row := range map[string]struct {
		addresses []string
		vars      map[string]any
	}{
		"the defaults": {vars: harness.Vars{"haproxy_https": true, "haproxy_health_checks": true, "haproxy_whitelist": []string{"127.0.0.1"}}},
		"nothing on": {vars: harness.Vars{
			"haproxy_access_log": false, "max_backend_tls_slots": 0, "max_pow_backend_tls_slots": 0, "haproxy_https_response_headers": map[string]string{},
			"haproxy_command_classes": []any{},
		}},
		"everything on": {vars: harness.Vars{
			"haproxy_https": true, "haproxy_health_checks": true, "haproxy_stats_https": true, "haproxy_remote_auth": true, "haproxy_use_whitelist_file": true,
			"haproxy_users": map[string]string{"a": hash, "b.c@d": hash}, "haproxy_stats_users": map[string]string{"a": hash}, "haproxy_slot_overflow": true,
			"haproxy_bad_command":    `"(addresses|bundles)":\[\]`,
			"haproxy_extra_global":   "nbthread 2",
			"haproxy_extra_frontend": "http-request deny deny_status 403 if { src 198.51.100.0/24 }\nhttp-request set-header X-A b\n",
			"haproxy_extra_backend":  "retry-on conn-failure empty-response\n",
		}},
		"signs that mean something to HAProxy": {vars: harness.Vars{
			"haproxy_https": true, "haproxy_deny_regex": `a b|'c'|"d"|#e|\$f|g\\h|%i|{j}`, "haproxy_bad_command": `'"# \s$|%[src]`,
			"haproxy_https_response_headers": map[string]string{"Content-Security-Policy": `default-src 'none'; "x" # 100% %[src]`},
		}},
		"IPv6": {addresses: []string{"::1"}, vars: harness.Vars{"haproxy_whitelist": []string{"2001:db8::/32", "192.0.2.1", "::1"}, "haproxy_admin_address": "::1:9999"}},
		"three load balancers": {
			addresses: []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"}, vars: harness.Vars{"haproxy_https": true, "haproxy_health_checks": true},
		},
		"the smallest numbers": {vars: harness.Vars{
			"max_backend_slots": 1, "max_pow_backend_slots": 1, "haproxy_source_max_requests": 1, "haproxy_source_max_pow_requests": 1, "haproxy_source_max_connections": 1,
			"max_connections_backend": 1, "max_connections_pow_backend": 1, "haproxy_abuser_time": "1s",
		}},
		"many slots": {vars: harness.Vars{
			"haproxy_health_checks": true, "max_backend_slots": 2000, "max_backend_tls_slots": 200, "max_pow_backend_slots": 500, "max_pow_backend_tls_slots": 50,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if row.addresses == nil {
				row.addresses = []string{"127.0.0.1"}
			}
			for _, h := range harness.PrepareHAProxies(t, row.addresses, withVars(row.vars)...) {
				code, said := h.Validate(t)
				require.Zero(t, code, "%s", said)
				assert.Empty(t, strings.ReplaceAll(said, "Configuration file is valid\n", ""))
			}
		})
	}
}

// TestHealthChecksAsInstalled: a node that passes in Consul gets its first request after HAProxy's own check, and one
// that fails there later gets no more.
func TestHealthChecksAsInstalled(t *testing.T) {
	b := harness.NewBed(t, harness.WithVars(roomy(nil)))
	b.Run(t)
	nodeA, nodeB := harness.At(harness.NodeA), harness.At(harness.NodeB)
	harness.StartNode(t, harness.NodeA)
	b.Register(t, "good", harness.NodeA, harness.NodePort)
	b.WaitSlot(t, harness.Backend, nodeA, harness.Up)

	wallets := harness.StartWallets(b.URL)
	harness.StartNode(t, harness.NodeB)
	harness.SetNode(t, harness.NodeB, `{"fault": "exception"}`)
	b.Register(t, "bad", harness.NodeB, harness.NodePort)
	for range 10 {
		b.SetHealth(t, "bad", api.HealthPassing)
		b.WaitSlot(t, harness.Backend, nodeB, harness.Down)
		wallets.WaitSent(t, 50)
		assert.Equal(t, "0", b.Requests(t, nodeB))
		b.SetHealth(t, "bad", api.HealthCritical)
		b.WaitSlot(t, harness.Backend, nodeB, harness.InMaintenance)
	}
	b.SetHealth(t, "bad", api.HealthPassing)
	harness.SetNode(t, harness.NodeB, `{"fault": ""}`)
	b.WaitSlot(t, harness.Backend, nodeB, harness.Up)
	b.WaitRequests(t, nodeB)
	wallets.Stop(t)

	harness.SetNode(t, harness.NodeB, `{"fault": "exception"}`)
	harness.Eventually(t, 2*patience, "HAProxy's own checks fail", func() error {
		if s := b.Slots(t, harness.Backend)[nodeB]; s.Status != harness.Down.Status {
			return fmt.Errorf("the slot is %+v", s)
		}
		return nil
	})
	wallets = harness.StartWallets(b.URL)
	wallets.WaitSent(t, 400)
	wallets.Stop(t)
}
