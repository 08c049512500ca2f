//go:build integration

package handler

import (
	"encoding/json"
	"testing"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

func TestPlanAndStatusReportWithoutChangingAnything(t *testing.T) {
	b := newBed(t)
	b.Register(t, "a", harness.NodeA, harness.NodePort, "haproxy.weight=5")
	b.Register(t, "b", harness.NodeB, harness.NodePort)
	b.SetHealth(t, "b", api.HealthCritical)
	code, out := b.Handler(t, "plan")
	assert.Equal(t, 2, code, out)
	assert.Contains(t, out, "addr 127.0.1.1 port 14265")
	assert.Empty(t, b.Slots(t, harness.Backend), "nothing was changed")
	b.RequireHandler(t, "sync")
	code, out = b.Handler(t, "plan")
	assert.Zero(t, code, out)
	assert.Contains(t, out, "nothing to change")

	code, out = b.Handler(t, "status")
	assert.Zero(t, code, out)
	assert.Regexp(t, `(?m)^a +127\.0\.1\.1:14265 +passing +http\d+ +ready +5 +none +0 +\d+s ago +test$`, out)
	assert.Regexp(t, `(?m)^b +127\.0\.1\.2:14265 +critical +- +no slot `, out)

	code, out = b.Handler(t, "status", "--json")
	assert.Zero(t, code, out)
	var st struct {
		HAProxy []struct {
			Pools []struct {
				Free  int
				Nodes []struct{ ID, Slot, HAProxy string }
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(out), &st))
	require.Len(t, st.HAProxy, 1)
	require.Len(t, st.HAProxy[0].Pools, 2)
	assert.Equal(t, 29, st.HAProxy[0].Pools[0].Free)
	assert.Equal(t, "ready", st.HAProxy[0].Pools[0].Nodes[0].HAProxy)

	b.Change(t, func(c *harness.HandlerConfig) { c.Consul = nobody })
	code, out = b.Handler(t, "status")
	assert.Equal(t, 1, code)
	assert.Contains(t, out, "unknown", "HAProxy's side is shown all the same")
	assert.Contains(t, out, "connection refused")
}
