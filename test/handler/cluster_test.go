//go:build integration

package handler

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// readNodes is what a token may do that an older version has made.
const readNodes = `service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }`

// clusterBeds are two load balancers with one Consul, called test, as Consul calls its own host, and other. Their token has
// these rules. The HAProxy of the second checks the nodes itself.
func clusterBeds(t *testing.T, rules string) (beds [2]*harness.Bed, policy *api.ACLPolicy) {
	t.Helper()
	c := harness.StartConsulWithACLs(t)
	policy, _, err := c.ACL().PolicyCreate(&api.ACLPolicy{Name: "handler", Rules: rules}, nil)
	require.NoError(t, err)
	token, _, err := c.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{Name: "handler"}}}, nil)
	require.NoError(t, err)
	for i, name := range []string{"test", "other"} {
		options := []harness.Option{harness.WithSlots(20)}
		if i == 0 {
			options = append(options, harness.WithoutHealthChecks())
		}
		b := harness.JoinBed(t, c, harness.StartHAProxy(t, options...))
		file := b.Dir + "/token"
		require.NoError(t, os.WriteFile(file, []byte(token.SecretID+"\n"), 0o600))
		b.Change(t, func(c *harness.HandlerConfig) {
			c.TokenFile, c.Host, c.Addresses = file, name, []string{"127.0.9.1", "192.0.2.1"}
		})
		b.Run(t)
		beds[i] = b
	}
	return beds, policy
}

// waitCluster waits until status --cluster prints what the patterns match.
func waitCluster(t *testing.T, b *harness.Bed, patterns ...string) {
	t.Helper()
	harness.Eventually(t, 45*time.Second, "status --cluster", func() error {
		code, out := b.Handler(t, "status", "--cluster")
		for _, pattern := range patterns {
			if code != 0 || !regexp.MustCompile(pattern).MatchString(out) {
				return fmt.Errorf("exit code %d, and not %s:\n%s", code, pattern, out)
			}
		}
		return nil
	})
}

func TestStatusOfTheClusterShowsANodeThatOneHostDoesNotReach(t *testing.T) {
	beds, policy := clusterBeds(t, readNodes)
	one, two := beds[0], beds[1]
	harness.StartNode(t, harness.NodeA)
	one.Register(t, "a", harness.NodeA, harness.NodePort)
	for i, b := range beds {
		b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), []harness.Slot{harness.InService, harness.Up}[i])
		// A token from before this version: everything else works.
		b.WaitLog(t, "other hosts do not see this host's state (iri-lb-handler status --cluster); all else goes on")
		b.WaitReady(t)
	}
	assert.Contains(t, one.Daemon.Log(), "may not do that; run the playbook, which extends the token's policy")

	policy.Rules += ` key_prefix "iri-lb-haproxy/hosts/" { policy = "write" }`
	_, _, err := one.ACL().PolicyUpdate(policy, nil)
	require.NoError(t, err)
	waitCluster(t, two, `(?m)^test +leader, alive +127\.0\.9\.1 +ready +\d\S+ +default 1/1, pow 0/0 +\d+s ago$`,
		`(?m)^other +unknown +127\.0\.9\.1 +ready +\d\S+ +default 1/1, pow 0/0 +\d+s ago$`,
		"other and test have the address 127.0.9.1 at once", "No host has the address 192.0.2.1", "Differences between other, test: none")
	assert.Contains(t, one.Daemon.Log(), "other hosts see this host's state again")

	// Nobody listens at B, which only the second HAProxy finds out.
	one.Register(t, "b", harness.NodeB, harness.NodePort)
	waitCluster(t, one, `Differences between other, test: 1\nPOOL +NODE +other +test\ndefault +b +down +ready\n$`)
	code, out := one.Handler(t, "status", "--cluster", "--json")
	require.Zero(t, code, out)
	var st struct {
		Differences []struct {
			ID string
			On []struct{ HAProxy, Verdict string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(out), &st))
	require.Len(t, st.Differences, 1)
	assert.Equal(t, "passing", st.Differences[0].On[0].Verdict)

	// Without a Consul the command fails, and says why.
	one.Consul.Container.Kill(t)
	code, out = one.Handler(t, "status", "--cluster")
	assert.Equal(t, 1, code)
	assert.Regexp(t, `(?m)^Consul http://\S+: read the members in Consul: .*connection refused`, out)
}

func TestAnOldTokenMayNotReadTheReports(t *testing.T) {
	beds, _ := clusterBeds(t, readNodes)
	b := beds[0]
	_, err := b.KV().Put(&api.KVPair{Key: "iri-lb-haproxy/hosts/lb9", Value: []byte("{}")}, nil)
	require.NoError(t, err)
	code, out := b.Handler(t, "status", "--cluster")
	assert.Equal(t, 1, code)
	assert.Contains(t, out, "read iri-lb-haproxy/hosts/ in Consul: the token "+b.Config.TokenFile+" may not do that; run the playbook")
	assert.Regexp(t, `(?m)^test +leader, alive `, out)
}
