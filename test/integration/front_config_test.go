//go:build integration

package integration

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dc "github.com/ory/dockertest/v3/docker"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/hashicorp/consul/api"
)

// TestFrontConfiguration: whatever an operator sets, HAProxy has not a word to
// say about the configuration.
func TestFrontConfiguration(t *testing.T) {
	hash := hashOf(t, "secret")
	for name, row := range map[string]struct {
		addresses []string
		vars      map[string]any
	}{
		"the defaults": {vars: map[string]any{"haproxy_https": true, "haproxy_health_checks": true, "haproxy_whitelist": []string{"127.0.0.1"}}},
		"nothing on": {vars: map[string]any{
			"haproxy_access_log": false, "max_backend_tls_slots": 0, "max_pow_backend_tls_slots": 0, "haproxy_https_response_headers": map[string]string{},
		}},
		"everything on": {vars: map[string]any{
			"haproxy_https": true, "haproxy_health_checks": true, "haproxy_stats_https": true, "haproxy_remote_auth": true, "haproxy_use_whitelist_file": true,
			"haproxy_users": map[string]string{"a": hash, "b.c@d": hash}, "haproxy_stats_users": map[string]string{"a": hash}, "haproxy_slot_overflow": true,
			"haproxy_bad_command":    `"(addresses|bundles)":\[\]`,
			"haproxy_extra_global":   "nbthread 2",
			"haproxy_extra_frontend": "http-request deny deny_status 403 if { src 198.51.100.0/24 }\nhttp-request set-header X-A b\n",
			"haproxy_extra_backend":  "retry-on conn-failure empty-response\n",
		}},
		"signs that mean something to HAProxy": {vars: map[string]any{
			"haproxy_https": true, "haproxy_deny_regex": `a b|'c'|"d"|#e|\$f|g\\h|%i|{j}`, "haproxy_bad_command": `'"# \s$|%[src]`,
			"haproxy_https_response_headers": map[string]string{"Content-Security-Policy": `default-src 'none'; "x" # 100% %[src]`},
		}},
		"IPv6": {addresses: []string{"::1"}, vars: map[string]any{"haproxy_whitelist": []string{"2001:db8::/32", "192.0.2.1", "::1"}, "haproxy_admin_address": "::1:9999"}},
		"three load balancers": {
			addresses: []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"}, vars: map[string]any{"haproxy_https": true, "haproxy_health_checks": true},
		},
		"the smallest numbers": {vars: map[string]any{
			"max_backend_slots": 1, "max_pow_backend_slots": 1, "haproxy_source_max_requests": 1, "haproxy_source_max_pow_requests": 1, "haproxy_source_max_connections": 1,
			"max_connections_backend": 1, "max_connections_pow_backend": 1, "haproxy_abuser_time": "1s",
		}},
		"many slots": {vars: map[string]any{
			"haproxy_health_checks": true, "max_backend_slots": 2000, "max_backend_tls_slots": 200, "max_pow_backend_slots": 500, "max_pow_backend_tls_slots": 50,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if row.addresses == nil {
				row.addresses = []string{"127.0.0.1"}
			}
			for _, f := range prepareFronts(t, row.addresses, row.vars) {
				code, said := f.validate(t)
				require.Zero(t, code, "%s", said)
				assert.Empty(t, strings.ReplaceAll(said, "Configuration file is valid\n", ""))
			}
		})
	}
}

// validate has HAProxy judge its configuration, warnings as errors.
func (f *front) validate(t *testing.T) (code int, said string) {
	t.Helper()
	r := startContainer(t, image("HAPROXY_IMAGE", "haproxy:3.0"), []string{"haproxy"}, []string{"-c", "-dW", "-f", "/etc/haproxy/haproxy.cfg"},
		f.dir+"/etc:/etc/haproxy", f.dir+"/lib:/var/lib/haproxy", f.dir+"/run:/run/haproxy")
	code, err := docker.Client.WaitContainer(r.Container.ID)
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, docker.Client.Logs(dc.LogsOptions{Container: r.Container.ID, OutputStream: &out, ErrorStream: &out, Stdout: true, Stderr: true}))
	return code, out.String()
}

// TestFrontChecksOfItsOwn: with the playbook's configuration, a node that passes
// in Consul gets its first request after HAProxy's own check, and one that fails
// there later gets no more.
func TestFrontChecksOfItsOwn(t *testing.T) {
	f := startFront(t, roomy(map[string]any{"haproxy_health_checks": true}))
	b := &bed{consul: startConsul(t), haproxy: &haproxy{dir: filepath.Join(f.dir, "run"), url: f.url}}
	b.config = b.writeHandlerConfig(t, b.consul.address, ", sni_map: "+b.dir+"/iri_back.sni", "")
	b.run(t)
	startNode(t, nodeA)
	b.register(t, "good", nodeA, nodePort)
	b.waitSlot(t, "iri_back", at(nodeA), slot{status: "UP", weight: "1"})

	tr := startTraffic(t, f.url)
	startNode(t, nodeB)
	setNode(t, nodeB, `{"fault": "exception"}`)
	b.register(t, "bad", nodeB, nodePort)
	for range 10 {
		b.set(t, "bad", api.HealthPassing)
		b.waitSlot(t, "iri_back", at(nodeB), slot{status: "DOWN", weight: "1"})
		assert.Equal(t, "0", b.requests(t, at(nodeB)))
		b.set(t, "bad", api.HealthCritical)
		b.waitSlot(t, "iri_back", at(nodeB), out)
	}
	b.set(t, "bad", api.HealthPassing)
	setNode(t, nodeB, `{"fault": ""}`)
	b.waitSlot(t, "iri_back", at(nodeB), slot{status: "UP", weight: "1"})
	eventually(t, patience, "it gets requests", func() error {
		if n := b.requests(t, at(nodeB)); n == "0" {
			return fmt.Errorf("none")
		}
		return nil
	})
	tr.stop(t)

	setNode(t, nodeB, `{"fault": "exception"}`)
	eventually(t, 2*patience, "HAProxy's own checks fail", func() error {
		if s := b.slots(t, "iri_back")[at(nodeB)]; s.status != "DOWN" {
			return fmt.Errorf("the slot is %+v", s)
		}
		return nil
	})
	tr = startTraffic(t, f.url)
	time.Sleep(time.Second)
	tr.stop(t)
}
