//go:build integration

package handler

import (
	"net/http"
	"os"
	"testing"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// tokenBed has a daemon with a token that Consul takes, and one node in service.
type tokenBed struct {
	*harness.Bed
	file  string
	token *api.ACLToken
}

func newTokenBed(t *testing.T) *tokenBed {
	t.Helper()
	c := harness.StartConsulWithACLs(t)
	h := harness.StartHAProxy(t, harness.WithSlots(20))
	b := &tokenBed{Bed: harness.JoinBed(t, c, h), file: h.Dir + "/token", token: c.NewToken(t)}
	b.write(t, b.token)
	b.Change(t, func(c *harness.HandlerConfig) { c.TokenFile = b.file })
	for _, n := range []string{harness.NodeA, harness.NodeB, harness.NodeC} {
		harness.StartNode(t, n)
	}
	b.Register(t, "a", harness.NodeA, harness.NodePort)
	b.Run(t)
	b.WaitReady(t)
	b.WaitSlot(t, harness.Backend, harness.At(harness.NodeA), harness.Up)
	return b
}

func (b *tokenBed) write(t *testing.T, token *api.ACLToken) {
	t.Helper()
	require.NoError(t, os.WriteFile(b.file, []byte(token.SecretID+"\n"), 0o600))
}

// requireChangesArrive: the daemon is ready and follows Consul.
func (b *tokenBed) requireChangesArrive(t *testing.T, node string) {
	t.Helper()
	b.Register(t, node, node, harness.NodePort)
	b.WaitSlot(t, harness.Backend, harness.At(node), harness.Up)
	b.WaitReady(t)
}

func TestDaemonGoesOnWhenItsTokenIsRotated(t *testing.T) {
	b := newTokenBed(t)
	wallets := harness.StartWallets(b.URL)
	second := b.NewToken(t)
	b.write(t, second)
	b.DeleteToken(t, b.token)
	b.requireChangesArrive(t, harness.NodeB)
	code, body := b.Get(t, "/readyz")
	assert.Equal(t, http.StatusOK, code, body)

	// Once more, to a token whose predecessor was never used from the start of the process.
	b.write(t, b.NewToken(t))
	b.DeleteToken(t, second)
	b.requireChangesArrive(t, harness.NodeC)
	wallets.Stop(t)
}

func TestDaemonNamesTheFileOfRefusedTokenAndRecoversOnceItHasNewOne(t *testing.T) {
	b := newTokenBed(t)
	wallets := harness.StartWallets(b.URL)
	b.DeleteToken(t, b.token)
	// Consul answers a query that it took with the old token; the next one is refused.
	require.NoError(t, b.Agent().ServiceRegister(harness.TTLNode("a", harness.NodeA, harness.NodePort, "other=tag")))
	b.WaitLog(t, b.file)
	code, log := b.Handler(t, "sync", "--timeout", "1s")
	assert.Equal(t, 1, code)
	assert.Contains(t, log, "the token in "+b.file)
	b.write(t, b.NewToken(t))
	b.requireChangesArrive(t, harness.NodeB)
	wallets.Stop(t)
}
