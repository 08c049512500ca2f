package iritest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// The made-up contents: the right alphabet and the right lengths.
var (
	trytesOnly = regexp.MustCompile(`^[9A-Z]+$`)
	someHash   = strings.Repeat("FAKE9NODE", 9)   // 81 trytes
	someTrytes = strings.Repeat("TRYTES999", 297) // 2673 trytes
)

const notSynchronised = "This operation cannot be executed: The subtangle has not been updated yet."

// commands are those that the fake knows; what they do is in their names.
var commands = map[string]func(*Node, *request) answer{
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

func (n *Node) getNodeInfo(req *request) answer {
	s, p := req.state, req.preset
	info := map[string]any{
		"appName": or(s.AppName, p.appName), "appVersion": or(s.AppVersion, p.appVersion),
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
	if p.objects {
		info["duration"] = 0
	}
	if p.start {
		info["milestoneStartIndex"] = s.Snapshot
	}
	if p.features {
		info["features"], info["coordinatorAddress"] = features(s, p), someHash
	}
	if p.snapshot {
		info["lastSnapshottedMilestoneIndex"] = s.Snapshot
	}
	if p.size {
		info["dbSizeInBytes"] = 12345678
	}
	return ok(info)
}

// addJava adds what only a Java program tells. The numbers move, as there.
func addJava(info map[string]any, up time.Duration) {
	info["jreAvailableProcessors"] = runtime.NumCPU()
	info["jreFreeMemory"] = 1<<30 + up.Milliseconds()%(1<<20)
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

func (n *Node) getNodeAPIConfiguration(*request) answer {
	return ok(map[string]any{
		"maxFindTransactions": 100000, "maxRequestsList": 1000, "maxGetTrytes": 10000, "maxBodyLength": maxBody,
		"testNet": false, "milestoneStartIndex": 0,
	})
}

func (n *Node) getNeighbors(req *request) answer {
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

func neighbourChange(key string) func(*Node, *request) answer {
	return func(_ *Node, req *request) answer {
		uris, bad := req.list("uris", nil)
		if bad != nil {
			return *bad
		}
		return ok(map[string]any{key: len(uris)})
	}
}

func (n *Node) getTips(req *request) answer {
	if req.preset.hornet {
		return req.unknown()
	}
	return ok(map[string]any{"hashes": []string{someHash, someHash}})
}

func (n *Node) getTransactionsToApprove(req *request) answer {
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

func (n *Node) getBalances(req *request) answer {
	addresses, bad := req.list("addresses", trytesOnly)
	if bad != nil {
		return *bad
	}
	return ok(map[string]any{
		"balances": repeat("0", len(addresses)), "references": []string{someHash},
		"milestoneIndex": req.state.Milestone - req.state.Behind,
	})
}

func (n *Node) findTransactions(req *request) answer {
	given := false
	for _, key := range []string{"addresses", "bundles", "tags", "approvees"} {
		if _, has := req.params[key]; !has {
			continue
		}
		if _, bad := req.list(key, trytesOnly); bad != nil {
			return *bad
		}
		given = true
	}
	if !given {
		return req.badParameter("Invalid parameters")
	}
	return ok(map[string]any{"hashes": []string{someHash}})
}

func (n *Node) getTrytes(req *request) answer {
	hashes, bad := req.list("hashes", trytesOnly)
	if bad != nil {
		return *bad
	}
	return ok(map[string]any{"trytes": repeat(someTrytes, len(hashes))})
}

func (n *Node) getInclusionStates(req *request) answer {
	transactions, bad := req.list("transactions", trytesOnly)
	if bad != nil {
		return *bad
	}
	if !req.state.synchronised(req.preset) {
		return failed(400, notSynchronised)
	}
	return ok(map[string]any{"states": repeat(true, len(transactions))})
}

func (n *Node) checkConsistency(req *request) answer {
	if _, bad := req.list("tails", trytesOnly); bad != nil {
		return *bad
	}
	if !req.state.synchronised(req.preset) {
		return failed(400, notSynchronised)
	}
	return ok(map[string]any{"state": true, "info": ""})
}

func (n *Node) wereAddressesSpentFrom(req *request) answer {
	addresses, bad := req.list("addresses", trytesOnly)
	if bad != nil {
		return *bad
	}
	return ok(map[string]any{"states": repeat(false, len(addresses))})
}

func (n *Node) getMissingTransactions(*request) answer {
	return ok(map[string]any{"hashes": []string{}})
}

func (n *Node) acceptTrytes(req *request) answer {
	if _, bad := req.list("trytes", trytesOnly); bad != nil {
		return *bad
	}
	return ok(map[string]any{})
}

// attachToTangle takes State.PoWTime, one request after the other as in IRI, and
// gives the trytes back as they came.
func (n *Node) attachToTangle(req *request) answer {
	var weight float64
	for _, key := range []string{"trunkTransaction", "branchTransaction"} {
		var hash string
		if json.Unmarshal(req.params[key], &hash) != nil {
			return req.badParameter("Invalid parameters")
		}
		if !trytesOnly.MatchString(hash) {
			return req.badParameter("Invalid " + key + " input")
		}
	}
	if json.Unmarshal(req.params["minWeightMagnitude"], &weight) != nil {
		return req.badParameter("Invalid parameters")
	}
	trytes, bad := req.list("trytes", trytesOnly)
	if bad != nil {
		return *bad
	}
	start := time.Now()
	done := n.work(req)
	if !done {
		trytes = []string{}
	}
	return ok(map[string]any{"trytes": trytes, "duration": time.Since(start).Milliseconds()})
}

// work does nothing for as long as a proof of work takes. It is false when it
// was interrupted, or the client went away.
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

// interruptAttachingToTangle needs no parameter, and acts.
func (n *Node) interruptAttachingToTangle(*request) answer {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.interrupted)
	n.interrupted = make(chan struct{})
	return ok(map[string]any{})
}

// list reads a parameter that is a list of texts, or tells the answer that says
// what is wrong with it.
func (req *request) list(key string, syntax *regexp.Regexp) ([]string, *answer) {
	var list []string
	if raw, has := req.params[key]; !has || json.Unmarshal(raw, &list) != nil || list == nil {
		bad := req.badParameter("Invalid parameters")
		return nil, &bad
	}
	if len(list) > 1000 {
		bad := req.badParameter("Could not complete request")
		return nil, &bad
	}
	for _, item := range list {
		if syntax != nil && !syntax.MatchString(item) {
			bad := req.badParameter("Invalid " + key + " input")
			return nil, &bad
		}
	}
	return list, nil
}

func repeat[T any](value T, times int) []T {
	list := make([]T, times)
	for i := range list {
		list[i] = value
	}
	return list
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
