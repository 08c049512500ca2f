package iritest_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iritest"
)

var (
	hashA, hashB      = strings.Repeat("A", 81), strings.Repeat("B", 81)
	address, bundle   = strings.Repeat("C", 81), strings.Repeat("D", 81)
	trunk, branch     = strings.Repeat("E", 81), strings.Repeat("F", 81)
	tag               = strings.Repeat("G", 27)
	emptyTransaction  = strings.Repeat("9", 2673)
	secondTransaction = emptyTransaction[:2187] + address + emptyTransaction[2268:]
	// The fields of a transaction, in their order: signature, address, value to lastIndex, bundle, trunk, branch, tag,
	// timestamps and nonce.
	firstTransaction = strings.Repeat("9", 2187) + address + strings.Repeat("9", 81) + bundle + trunk + branch + tag + strings.Repeat("9", 54)
)

func ledger(s *iritest.State) {
	s.Transactions = map[string]string{hashA: firstTransaction, hashB: secondTransaction}
	s.Balances = map[string]string{address: "77"}
}

func TestTransactionsAreFound(t *testing.T) {
	url := server(t, iritest.With(ledger)).URL
	for query, want := range map[string][]any{
		`"addresses":["` + address + `"]`:                                 {hashA, hashB},
		`"bundles":["` + hashA + `","` + bundle + `"]`:                    {hashA},
		`"tags":["` + tag + `"]`:                                          {hashA},
		`"approvees":["` + trunk + `"]`:                                   {hashA},
		`"approvees":["` + branch + `"]`:                                  {hashA},
		`"addresses":["` + address + `"],"bundles":["` + bundle + `"]`:    {hashA},
		`"addresses":["` + hashA + `"]`:                                   {},
		`"addresses":["` + address + `"],"approvees":["` + address + `"]`: {},
	} {
		got := post(t, url, `{"command":"findTransactions",`+query+`}`)
		assert.Equal(t, want, got.object["hashes"], query)
	}
	got := post(t, url, `{"command":"getTrytes","hashes":["`+hashB+`","`+trunk+`"]}`)
	assert.Equal(t, []any{secondTransaction, emptyTransaction}, got.object["trytes"])
	got = post(t, url, `{"command":"getBalances","addresses":["`+hashA+`","`+address+`"]}`)
	assert.Equal(t, []any{"0", "77"}, got.object["balances"])
}

func TestAProofOfWorkAttachesToTrunkAndBranch(t *testing.T) {
	url := server(t, iritest.PoW(true)).URL
	body := map[string]any{
		"command": "attachToTangle", "trunkTransaction": hashA, "branchTransaction": hashB, "minWeightMagnitude": 14,
		"trytes": []string{firstTransaction},
	}
	text, err := json.Marshal(body)
	require.NoError(t, err)
	want := strings.Replace(firstTransaction, trunk+branch, hashA+hashB, 1)
	assert.Equal(t, []any{want}, post(t, url, string(text)).object["trytes"])
}

func TestATransactionHasItsLength(t *testing.T) {
	node := server(t)
	got := send(t, "PUT", node.URL+"/_fake/state", `{"transactions":{"`+hashA+`":"ABC"}}`, nil)
	assert.Equal(t, 400, got.status)
	assert.Contains(t, got.text, "has 3 characters, want 2673 trytes")
	assert.Empty(t, node.State().Transactions)
}
