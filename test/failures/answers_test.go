package failures

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// command is what some of the wallets send.
type command struct {
	name, body string
	// field is what a proper answer has.
	field   string
	wallets int
	every   time.Duration
	// work: it goes to the pool for proof of work, where there is one.
	work bool
}

var (
	trytes   = strings.Repeat("TRYTES999", 297)
	hash     = strings.Repeat("FAKE9NODE", 9)
	commands = []command{
		{name: "getNodeInfo", body: `{"command":"getNodeInfo"}`, field: "latestSolidSubtangleMilestoneIndex", wallets: 20, every: 50 * time.Millisecond},
		{
			name: "getTransactionsToApprove", body: `{"command":"getTransactionsToApprove","depth":3}`, field: "trunkTransaction",
			wallets: 4, every: 200 * time.Millisecond,
		},
		{name: "broadcastTransactions", body: broadcast(100), field: "duration", wallets: 3, every: 500 * time.Millisecond},
		{
			name: "attachToTangle", body: `{"command":"attachToTangle","trunkTransaction":"` + hash + `","branchTransaction":"` + hash +
				`","minWeightMagnitude":14,"trytes":["` + trytes + `"]}`, field: "trytes", wallets: 3, every: 500 * time.Millisecond, work: true,
		},
	}
)

// broadcast is a bundle of n transactions; a hundred are 270 kB.
func broadcast(n int) string {
	return `{"command":"broadcastTransactions","trytes":["` + strings.Repeat(trytes+`","`, n-1) + trytes + `"]}`
}

// judge says whether it is a proper answer of a node, and if not, the reason that the wallet can show to its user.
func (c command) judge(status int, body []byte) (proper bool, reason string) {
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) != nil {
		return false, ""
	}
	for _, key := range []string{"error", "exception"} {
		var text string
		if _ = json.Unmarshal(object[key], &text); text != "" {
			return false, text
		}
	}
	value := string(object[c.field])
	return status == http.StatusOK && value != "" && value != "null" && value != "[]", ""
}

func TestProperAnswers(t *testing.T) {
	info, work := commands[0], commands[3]
	for _, tt := range []struct {
		c      command
		status int
		body   string
		proper bool
		reason string
	}{
		{info, 200, `{"latestSolidSubtangleMilestoneIndex":1}`, true, ""},
		{info, 200, `{"latestSolidSubtangleMilestoneIndex":1`, false, ""},
		{info, 200, `{"appName":"IRI"}`, false, ""},
		{info, 200, `{"error":"closed","latestSolidSubtangleMilestoneIndex":1}`, false, "closed"},
		{info, 500, `{"latestSolidSubtangleMilestoneIndex":1}`, false, ""},
		{info, 500, `{"exception":"null pointer"}`, false, "null pointer"},
		{info, 502, `<html></html>`, false, ""},
		{work, 200, `{"trytes":[]}`, false, ""},
	} {
		proper, reason := tt.c.judge(tt.status, []byte(tt.body))
		if proper != tt.proper || reason != tt.reason {
			t.Errorf("%d %s: %t %q", tt.status, tt.body, proper, reason)
		}
	}
}
