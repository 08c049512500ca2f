//go:build integration

package wallets

import (
	"cmp"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// refusal is an answer of the load balancer itself: its reason, and what the phrase of the status line says if that is
// something else. The zero value: the request is served.
type refusal struct{ reason, phrase string }

var (
	served     refusal
	badCommand = refusal{reason: "This request is not allowed here"}
	tooLong    = refusal{reason: "Request too long"}
	tooMany    = refusal{reason: "Too many requests"}
	tooMuchPoW = refusal{reason: "Too many requests for proof of work"}
	noNode     = refusal{reason: "No node is available"}
	badAnswer  = refusal{reason: "The node gave no proper answer"}
	noPassword = refusal{reason: "User and password are needed"}
)

func denied(command string) refusal {
	return refusal{reason: "COMMAND " + command + " is not available on this node", phrase: "COMMAND is not available on this node"}
}

// step is a call, and what comes of it.
type step struct {
	call string
	want refusal
}

func (w wallet) assertRefused(t *testing.T, want refusal, got outcome) {
	t.Helper()
	shown := want.reason
	if w.onlyPhrase {
		shown = cmp.Or(want.phrase, want.reason)
	}
	assert.False(t, got.OK, "%s is not refused: %v", got.Call, got.Result)
	assert.Contains(t, got.Error, shown, "%s shows what came of %s", w.library, got.Call)
}

// take makes the calls of the steps through the load balancer, in one run of the wallet.
func (b *bed) take(t *testing.T, w wallet, provider string, steps []step) {
	t.Helper()
	var calls []string
	for _, s := range steps {
		calls = append(calls, s.call)
	}
	got := b.run(t, w, provider, calls...)
	require.Len(t, got, len(steps))
	for i, s := range steps {
		if s.want == served {
			assert.True(t, got[i].OK, "%s: %s", s.call, got[i].Error)
			continue
		}
		w.assertRefused(t, s.want, got[i])
	}
}

// forget lets the wallet's source begin with whole budgets.
func (b *bed) forget(t *testing.T) {
	t.Helper()
	for _, table := range []string{"iri_requests", "iri_abusers"} {
		_, err := b.Command("clear table " + table)
		require.NoError(t, err)
	}
}

func TestEachWalletShowsWhyItIsRefused(t *testing.T) {
	b := startBed(t, harness.Vars{"haproxy_bad_command": "getTips", "haproxy_source_max_requests": 6, "haproxy_source_max_pow_requests": 1})
	for _, w := range libraries {
		t.Run(w.library, func(t *testing.T) {
			b.forget(t)
			b.take(t, w, b.URL, []step{
				{"getNeighbors", denied("getNeighbors")},
				{"getTips", badCommand},
				{"broadcastTransactions, too many", tooLong},
				{"attachToTangle", served},
				{"attachToTangle", tooMuchPoW},
				{"getNodeInfo", served},
				{"getNodeInfo", tooMany},
			})
		})
	}
	_, err := b.Command("set server " + harness.Backend + "/http1 state maint")
	require.NoError(t, err)
	harness.SetNode(t, powNode, `{"fault":"not-http"}`)
	for _, w := range libraries {
		t.Run(w.library+", nodes fail", func(t *testing.T) {
			b.forget(t)
			b.take(t, w, b.URL, []step{{"getNodeInfo", noNode}, {"attachToTangle", badAnswer}})
		})
	}
}

func TestEachWalletSendsItsPassword(t *testing.T) {
	hash, err := exec.Command("openssl", "passwd", "-5", "secret").Output()
	require.NoError(t, err)
	b := startBed(t, harness.Vars{"haproxy_remote_auth": true, "haproxy_users": map[string]string{"alice": strings.TrimSpace(string(hash))}})
	for _, w := range libraries {
		t.Run(w.library, func(t *testing.T) {
			b.take(t, w, b.URL, []step{{"getNodeInfo", noPassword}})
			if w.noPassword {
				return
			}
			b.take(t, w, strings.Replace(b.URL, "://", "://alice:secret@", 1), []step{{"getNodeInfo", served}, {"attachToTangle", served}})
		})
	}
}
