//go:build integration

package handler

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// nobody is an address of Consul where nothing listens.
const nobody = "http://127.0.0.1:9"

func TestWithoutConsulNothingIsRemovedAndHandlerRecovers(t *testing.T) {
	b := newBed(t)
	nodeA, nodeB := harness.At(harness.NodeA), harness.At(harness.NodeB)
	for _, n := range []string{harness.NodeA, harness.NodeB} {
		harness.StartNode(t, n)
		b.RegisterWithScript(t, n, n, harness.NodePort)
	}
	b.Run(t)
	b.WaitSlot(t, harness.Backend, nodeA, harness.InService)
	b.WaitSlot(t, harness.Backend, nodeB, harness.InService)
	wallets := harness.StartWallets(b.URL)
	b.Consul.Container.Stop(t)
	harness.Throughout(t, 3*time.Second, "both slots stay, while attempts fail", func() error {
		if n := len(b.Slots(t, harness.Backend)); n != 2 {
			return fmt.Errorf("%d slots", n)
		}
		return nil
	})
	// Consul comes back with every check critical and not yet run.
	b.Consul.Container.StartAgain(t)
	b.WaitLeader(t)
	b.WaitPassing(t, 2)
	wallets.Stop(t)
	harness.SetNode(t, harness.NodeA, `{"behind": 5}`)
	b.WaitSlot(t, harness.Backend, nodeA, harness.InMaintenance)
	b.WaitSlot(t, harness.Backend, nodeB, harness.InService)
	harness.SetNode(t, harness.NodeA, `{"behind": 0}`)
	b.WaitSlot(t, harness.Backend, nodeA, harness.InService)
}

func TestTokenWithoutReadPermissionIsNoEmptyRegistry(t *testing.T) {
	b := newBed(t)
	b.Run(t)
	b.Register(t, "a", harness.NodeA, harness.NodePort)
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.InService)
	b.Daemon.Stop(syscall.SIGTERM)

	const master = "11111111-1111-1111-1111-111111111111"
	closed := harness.StartConsul(t, "-hcl", `acl { enabled = true default_policy = "deny" tokens { initial_management = "`+master+`" } }`)
	client, err := api.NewClient(&api.Config{Address: closed.Address, Token: master})
	require.NoError(t, err)
	harness.Eventually(t, 20*time.Second, "the service is in the catalog", func() error {
		_, err := client.Catalog().Register(&api.CatalogRegistration{
			Node: "n", Address: "127.0.0.1", Service: &api.AgentService{Service: "iri", Address: harness.NodeB, Port: harness.NodePort},
		}, nil)
		return err
	})
	_, _, err = client.ACL().PolicyCreate(&api.ACLPolicy{Name: "other", Rules: `service "other" { policy = "read" }`}, nil)
	require.NoError(t, err)
	token, _, err := client.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{Name: "other"}}}, nil)
	require.NoError(t, err)

	tokenFile := b.Dir + "/token"
	b.Change(t, func(c *harness.HandlerConfig) { c.Consul, c.TokenFile = closed.Address, tokenFile })
	for text, want := range map[string]string{
		token.SecretID:                         "token may not read",
		"22222222-2222-2222-2222-222222222222": "ACL not found",
		"":                                     "is empty",
	} {
		require.NoError(t, os.WriteFile(tokenFile, []byte(text), 0o600))
		code, log := b.Handler(t, "sync", "--timeout", "2s")
		assert.Equal(t, 1, code)
		assert.Contains(t, log, want)
	}
	b.Change(t, func(c *harness.HandlerConfig) { c.TokenFile = "" })
	code, log := b.Handler(t, "sync", "--timeout", "2s")
	assert.Equal(t, 1, code)
	assert.Contains(t, log, "without a token")
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.InService)
}
