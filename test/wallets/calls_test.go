//go:build integration

package wallets

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// Every call has the same result through the load balancer as at a node itself, and an error of the node is the same
// error. What the load balancer refuses is not available at the node either.
func TestEveryCallOfEachWallet(t *testing.T) {
	b := startBed(t, nil)
	for _, w := range libraries {
		t.Run(w.library, func(t *testing.T) {
			b.assertVerified(t, w)
			var (
				there []outcome
				err   error
				group sync.WaitGroup
			)
			group.Go(func() { there, err = w.run(t.Context(), "http://"+harness.At(directNode), "", b.ledger) })
			here := b.run(t, w, b.URL)
			group.Wait()
			require.NoError(t, err)
			require.Greater(t, len(there), 30, "the program ended early")
			require.Len(t, here, len(there))
			for i := range there {
				t.Run(there[i].Call, func(t *testing.T) { assertSame(t, w, there[i], here[i]) })
			}
		})
	}
}

// assertVerified requires that the wallet verifies the load balancer's certificate: it refuses one that it was not told
// to trust.
func (b *bed) assertVerified(t *testing.T, w wallet) {
	t.Helper()
	got, err := w.run(t.Context(), b.URL, "", b.ledger, "getNodeInfo")
	require.NoError(t, err)
	require.Len(t, got, 1)
	assert.False(t, got[0].OK)
	assert.Regexp(t, "(?i)certificate", got[0].Error)
}

// refusedAtBoth are the calls that a node refuses to remote clients, and the load balancer to all.
var refusedAtBoth = map[string]refusal{
	"getNeighbors":                    denied("getNeighbors"),
	"addNeighbors":                    denied("addNeighbors"),
	"removeNeighbors":                 denied("removeNeighbors"),
	"broadcastTransactions, too many": tooLong,
}

// invalid is a call that a node refuses because of its parameters.
const invalid = "getTransactionsToApprove, too deep"

func assertSame(t *testing.T, w wallet, there, here outcome) {
	t.Helper()
	require.Equal(t, there.Call, here.Call)
	if want, refused := refusedAtBoth[there.Call]; refused {
		assert.False(t, there.OK, "%v", there)
		w.assertRefused(t, want, here)
		return
	}
	assert.Equal(t, there.Call != invalid, there.OK, there.Error)
	assert.Equal(t, there.OK, here.OK, here.Error)
	assert.Equal(t, there.Error, here.Error)
	assert.Equal(t, lasting(there.Result), lasting(here.Result))
}

// fleeting are the fields that change from call to call.
var fleeting = map[string]bool{"duration": true, "time": true, "jreFreeMemory": true}

// lasting is a result without what changes from call to call.
func lasting(value any) any {
	switch v := value.(type) {
	case map[string]any:
		kept := map[string]any{}
		for key, item := range v {
			if !fleeting[key] {
				kept[key] = lasting(item)
			}
		}
		return kept
	case []any:
		kept := make([]any, 0, len(v))
		for _, item := range v {
			kept = append(kept, lasting(item))
		}
		return kept
	}
	return value
}
