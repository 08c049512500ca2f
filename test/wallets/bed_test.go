//go:build integration

package wallets

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

const (
	defaultNode = harness.NodeA
	powNode     = harness.NodeB
	// directNode is for wallets that do without the load balancer.
	directNode = harness.NodeC
)

// bed is a load balancer with a node in each pool, a node beside it, and the ledger that all nodes have.
type bed struct {
	*harness.HAProxy
	// ledger is the file that tells the wallets what they can ask for.
	ledger string
}

// startBed runs HAProxy as installed, but that nobody is whitelisted and HAProxy does not check the nodes.
func startBed(t *testing.T, vars harness.Vars) *bed {
	t.Helper()
	b := &bed{ledger: filepath.Join(t.TempDir(), "ledger.json")}
	text, err := execute(t.Context(), "node", "ledger.js", "")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(b.ledger, text, 0o600))
	var ledger map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(text, &ledger))
	state, err := json.Marshal(map[string]json.RawMessage{"transactions": ledger["transactions"], "balances": ledger["balances"]})
	require.NoError(t, err)
	for _, node := range []string{defaultNode, powNode, directNode} {
		harness.StartNode(t, node, "-pow")
		harness.SetNode(t, node, string(state))
	}
	b.HAProxy = harness.StartHAProxy(t, harness.WithoutHealthChecks(),
		harness.WithVars(harness.Vars{"haproxy_https": true, "haproxy_whitelist": []string{}}), harness.WithVars(vars))
	b.Serve(t, harness.Backend, 1, harness.At(defaultNode))
	b.Serve(t, harness.PoWBackend, 1, harness.At(powNode))
	return b
}

// run makes calls of a wallet at the load balancer, with its certificate's authority.
func (b *bed) run(t *testing.T, w wallet, provider string, calls ...string) []outcome {
	t.Helper()
	all, err := w.run(t.Context(), provider, b.WalletsCA(), b.ledger, calls...)
	require.NoError(t, err)
	return all
}
