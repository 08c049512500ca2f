package iritest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// The invented contents have the alphabet and the lengths of real ones.
var (
	trytesOnly = regexp.MustCompile(`^[9A-Z]+$`)
	someHash   = strings.Repeat("FAKE9NODE", hashTrytes/9)
	someTrytes = strings.Repeat("TRYTES999", transactionTrytes/9)
)

const notSynchronised = "This operation cannot be executed: The subtangle has not been updated yet."

// commands are the supported commands of the API.
var commands = map[string]func(*Node, *request) response{
	"getNodeInfo":                (*Node).getNodeInfo,
	"getNodeAPIConfiguration":    (*Node).getNodeAPIConfiguration,
	"getNeighbors":               (*Node).getNeighbors,
	"addNeighbors":               neighbourChange("addedNeighbors"),
	"removeNeighbors":            neighbourChange("removedNeighbors"),
	"getTips":                    (*Node).getTips,
	"getTransactionsToApprove":   (*Node).getTransactionsToApprove,
	"getBalances":                (*Node).getBalances,
	"findTransactions":           (*Node).findTransactions,
	"getTrytes":                  (*Node).getTrytes,
	"getInclusionStates":         (*Node).getInclusionStates,
	"checkConsistency":           (*Node).checkConsistency,
	"wereAddressesSpentFrom":     (*Node).wereAddressesSpentFrom,
	"getMissingTransactions":     (*Node).getMissingTransactions,
	"attachToTangle":             (*Node).attachToTangle,
	"interruptAttachingToTangle": (*Node).interruptAttachingToTangle,
	"broadcastTransactions":      (*Node).acceptTrytes,
	"storeTransactions":          (*Node).acceptTrytes,
}

func (n *Node) getNodeInfo(req *request) response {
	s, p := req.state, req.preset
	info := map[string]any{
		"appName": cmp.Or(s.AppName, p.appName), "appVersion": cmp.Or(s.AppVersion, p.appVersion),
		"latestMilestone": someHash, "latestMilestoneIndex": s.Milestone,
		"latestSolidSubtangleMilestone": someHash, "latestSolidSubtangleMilestoneIndex": s.Milestone - s.Behind,
		"neighbors": s.Neighbours, "time": time.Now().UnixMilli(), "tips": 42, "transactionsToRequest": 0,
	}
	if p.hornet {
		info["isSynced"] = s.Behind == 0
		info["isHealthy"] = s.Behind <= 2 && s.Neighbours >= 1 && !s.Stale
	} else {
		addJava(info, time.Since(n.started))
	}
	if p.errorObjects {
		info["duration"] = 0
	}
	if p.startMilestone {
		info["milestoneStartIndex"] = s.Snapshot
	}
	if p.features {
		info["features"], info["coordinatorAddress"] = features(s, p), someHash
	}
	if p.snapshotMilestone {
		info["lastSnapshottedMilestoneIndex"] = s.Snapshot
	}
	if p.databaseSize {
		info["dbSizeInBytes"] = 12345678
	}
	return ok(info)
}

// addJava adds the fields of the Java runtime, which only IRI has. Some values change from call to call, as in IRI.
func addJava(info map[string]any, uptime time.Duration) {
	info["jreAvailableProcessors"] = runtime.NumCPU()
	info["jreFreeMemory"] = 1<<30 + uptime.Milliseconds()%(1<<20)
	info["jreMaxMemory"] = 4 << 30
	info["jreTotalMemory"] = 2 << 30
	info["jreVersion"] = "1.8.0_181"
	info["packetsQueueSize"] = 0
}

func features(s State, p preset) []string {
	list := []string{}
	if s.PoW {
		list = append(list, "RemotePOW")
	}
	if p.hornet {
		return append(list, "WereAddressesSpentFrom")
	}
	return append(list, "snapshotPruning", "dnsRefresher")
}

func (n *Node) getNodeAPIConfiguration(*request) response {
	return ok(map[string]any{
		"maxFindTransactions": 100000, "maxRequestsList": 1000, "maxGetTrytes": 10000, "maxBodyLength": maxBody,
		"testNet": false, "milestoneStartIndex": 0,
	})
}

func (n *Node) getNeighbors(req *request) response {
	list := []any{}
	for i := range req.state.Neighbours {
		list = append(list, map[string]any{
			"address": fmt.Sprintf("192.0.2.%d:15600", i%254+1), "connectionType": "tcp", "connected": true,
			"numberOfAllTransactions": 1000, "numberOfRandomTransactionRequests": 1, "numberOfNewTransactions": 900,
			"numberOfInvalidTransactions": 0, "numberOfStaleTransactions": 0, "numberOfSentTransactions": 1100,
		})
	}
	return ok(map[string]any{"neighbors": list})
}

func neighbourChange(key string) func(*Node, *request) response {
	return func(_ *Node, req *request) response {
		uris, invalid := req.list("uris", nil)
		if invalid != nil {
			return *invalid
		}
		return ok(map[string]any{key: len(uris)})
	}
}

func (n *Node) getTips(req *request) response {
	if req.preset.hornet {
		return req.unknown()
	}
	return ok(map[string]any{"hashes": []string{someHash, someHash}})
}

func (n *Node) getTransactionsToApprove(req *request) response {
	var depth float64
	if json.Unmarshal(req.params["depth"], &depth) != nil {
		return req.badParameter("Invalid parameters")
	}
	if depth < 0 || depth > 15 {
		return failed(400, "Invalid depth input")
	}
	if !req.state.synchronised(req.preset) {
		return failed(400, notSynchronised)
	}
	return ok(map[string]any{"trunkTransaction": someHash, "branchTransaction": someHash})
}

func (n *Node) getBalances(req *request) response {
	addresses, invalid := req.list("addresses", trytesOnly)
	if invalid != nil {
		return *invalid
	}
	return ok(map[string]any{
		"balances": each(addresses, req.state.balance), "references": []string{someHash},
		"milestoneIndex": req.state.Milestone - req.state.Behind,
	})
}

func (n *Node) findTransactions(req *request) response {
	wanted := map[string][]string{}
	for _, criterion := range criteria {
		if _, has := req.params[criterion.key]; !has {
			continue
		}
		values, invalid := req.list(criterion.key, trytesOnly)
		if invalid != nil {
			return *invalid
		}
		wanted[criterion.key] = values
	}
	if len(wanted) == 0 {
		return req.badParameter("Invalid parameters")
	}
	return ok(map[string]any{"hashes": req.state.find(wanted)})
}

func (n *Node) getTrytes(req *request) response {
	hashes, invalid := req.list("hashes", trytesOnly)
	if invalid != nil {
		return *invalid
	}
	return ok(map[string]any{"trytes": each(hashes, req.state.trytes)})
}

func (n *Node) getInclusionStates(req *request) response {
	transactions, invalid := req.list("transactions", trytesOnly)
	if invalid != nil {
		return *invalid
	}
	if !req.state.synchronised(req.preset) {
		return failed(400, notSynchronised)
	}
	return ok(map[string]any{"states": slices.Repeat([]bool{true}, len(transactions))})
}

func (n *Node) checkConsistency(req *request) response {
	if _, invalid := req.list("tails", trytesOnly); invalid != nil {
		return *invalid
	}
	if !req.state.synchronised(req.preset) {
		return failed(400, notSynchronised)
	}
	return ok(map[string]any{"state": true, "info": ""})
}

func (n *Node) wereAddressesSpentFrom(req *request) response {
	addresses, invalid := req.list("addresses", trytesOnly)
	if invalid != nil {
		return *invalid
	}
	return ok(map[string]any{"states": slices.Repeat([]bool{false}, len(addresses))})
}

func (n *Node) getMissingTransactions(*request) response {
	return ok(map[string]any{"hashes": []string{}})
}

func (n *Node) acceptTrytes(req *request) response {
	if _, invalid := req.list("trytes", trytesOnly); invalid != nil {
		return *invalid
	}
	return ok(map[string]any{})
}

// attachToTangle takes State.PoWTime. Like IRI it processes one request at a time.
func (n *Node) attachToTangle(req *request) response {
	var (
		weight float64
		tips   [2]string
	)
	for i, key := range []string{"trunkTransaction", "branchTransaction"} {
		if json.Unmarshal(req.params[key], &tips[i]) != nil {
			return req.badParameter("Invalid parameters")
		}
		if !trytesOnly.MatchString(tips[i]) {
			return req.badParameter("Invalid " + key + " input")
		}
	}
	if json.Unmarshal(req.params["minWeightMagnitude"], &weight) != nil {
		return req.badParameter("Invalid parameters")
	}
	trytes, invalid := req.list("trytes", trytesOnly)
	if invalid != nil {
		return *invalid
	}
	start := time.Now()
	if !n.work(req) {
		trytes = nil
	}
	attached := each(trytes, func(transaction string) string { return attach(transaction, tips[0], tips[1]) })
	return ok(map[string]any{"trytes": attached, "duration": time.Since(start).Milliseconds()})
}

// work waits for as long as a proof of work takes. It returns false when it was interrupted or the client disconnected.
func (n *Node) work(req *request) bool {
	select {
	case n.working <- struct{}{}:
	case <-req.http.Context().Done():
		return false
	}
	defer func() { <-n.working }()
	n.mu.Lock()
	interrupted := n.interrupted
	n.mu.Unlock()
	timer := time.NewTimer(time.Duration(req.state.PoWTime))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-interrupted:
	case <-req.http.Context().Done():
	}
	return false
}

// interruptAttachingToTangle takes no parameters: whoever may send it interrupts the running attachToTangle.
func (n *Node) interruptAttachingToTangle(*request) response {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.interrupted)
	n.interrupted = make(chan struct{})
	return ok(map[string]any{})
}

// each returns what the function makes of each item. The list is never nil: in JSON it is [] if it is empty.
func each(items []string, do func(string) string) []string {
	list := make([]string, 0, len(items))
	for _, item := range items {
		list = append(list, do(item))
	}
	return list
}

// list reads a parameter that is a list of strings, each of which matches syntax unless that is nil. If the parameter
// is invalid it returns the response that says so.
func (req *request) list(key string, syntax *regexp.Regexp) ([]string, *response) {
	var list []string
	if raw, has := req.params[key]; !has || json.Unmarshal(raw, &list) != nil || list == nil {
		invalid := req.badParameter("Invalid parameters")
		return nil, &invalid
	}
	if len(list) > 1000 {
		invalid := req.badParameter("Could not complete request")
		return nil, &invalid
	}
	for _, item := range list {
		if syntax != nil && !syntax.MatchString(item) {
			invalid := req.badParameter("Invalid " + key + " input")
			return nil, &invalid
		}
	}
	return list, nil
}
