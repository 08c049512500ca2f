package nodecheck

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iri"
)

// rule evaluates one property of a node that has responded to getNodeInfo.
type rule struct {
	name  string
	judge func(Observation, Limits) Finding
}

// rules are in the order in which they explain each other: a different application, or a node out of sync, accounts for
// much of what follows.
var rules = []rule{
	{"application", application},
	{"version", version},
	{"synchronised", synchronised},
	{"progress", progress},
	{"own-opinion", selfReport},
	{"neighbours", neighbours},
	{"answer-time", answerTime},
	{"pow", pow},
	{"limited", limited},
}

// Check observes a node and judges it. address is how the line names the node.
func Check(ctx context.Context, node Node, address string, limits Limits) Result {
	return Result{Address: address, Findings: Judge(Observe(ctx, node, limits), limits)}
}

// Judge applies all rules to an observation, without I/O. A node that did not respond has a single finding.
func Judge(seen Observation, limits Limits) []Finding {
	if seen.Err != nil {
		return []Finding{unresponsive(seen.Err)}
	}
	var findings []Finding
	for _, r := range rules {
		f := r.judge(seen, limits)
		f.Rule = r.name
		findings = append(findings, f)
	}
	return findings
}

func unresponsive(err error) Finding {
	return Finding{
		Rule: "answer", Value: err.Error(), Threshold: "a response to getNodeInfo", Verdict: Critical,
		Reason: err.Error(), Hint: hint(err),
	}
}

func hint(err error) string {
	var (
		e    *iri.Error
		name x509.HostnameError
	)
	switch {
	case errors.As(err, &e) && !e.FromNode && (e.Kind == iri.KindFailed || e.Kind == iri.KindDenied):
		return "the response does not come from the node: check the proxy in front of it, and http or https in -a"
	case errors.As(err, &name):
		return "set --server-name to the name in the certificate, or accept any certificate with -k"
	}
	return hints[iri.KindOf(err)]
}

var hints = map[iri.Kind]string{
	iri.KindTimeout:     "is the node overloaded, or does a firewall drop the connection?",
	iri.KindDNS:         "check the address and the name server",
	iri.KindRefused:     "is the node running, and is its API reachable from this host (IRI: REMOTE = true)?",
	iri.KindUnreachable: "check the address and the route to it",
	iri.KindCertificate: "replace the certificate, trust its authority with --ca-file, or accept any certificate with -k",
	iri.KindTLS:         "does the node require a client certificate? set --cert-file and --key-file",
	iri.KindNotTLS:      "if the node does not use TLS, write http:// instead of https:// in -a",
	iri.KindNotHTTP:     "if the node uses TLS, write https:// instead of http:// in -a",
	iri.KindRedirect:    "set -a to the address it leads to",
	iri.KindNotIRI:      "is there an IRI node at this address?",
	iri.KindDenied:      "is getNodeInfo in the node's REMOTE_LIMIT_API? checks need it",
	iri.KindAuth:        "set --user-file, or -a https://USER:PASSWORD@HOST:PORT",
}

func application(seen Observation, limits Limits) Finding {
	name := iri.Clean(seen.Info.AppName)
	f := Finding{Value: name, Threshold: iri.Clean(strings.Join(limits.AppNames, " or "))}
	switch {
	case name == "":
		f.Verdict, f.Reason = Critical, "the response has no appName"
		f.Hint = hints[iri.KindNotIRI]
	case !slices.Contains(limits.AppNames, seen.Info.AppName):
		f.Verdict, f.Reason = Critical, fmt.Sprintf("the application is %q, not %s", name, f.Threshold)
		f.Hint = "use -r to accept it"
	}
	return f
}

func version(seen Observation, limits Limits) Finding {
	text := iri.Clean(seen.Info.AppVersion)
	f := Finding{Value: text, Threshold: limits.MinVersion.String() + " or newer"}
	have, err := ParseVersion(text)
	switch {
	case text == "":
		f.Verdict, f.Reason = Critical, "the response has no appVersion"
		f.Hint = hints[iri.KindNotIRI]
	case err != nil:
		f.Verdict, f.Reason = Critical, "appVersion "+err.Error()
	case have.Compare(limits.MinVersion) < 0:
		f.Verdict, f.Reason = Critical, fmt.Sprintf("version %s is older than %s", text, limits.MinVersion)
		f.Hint = "upgrade the node, or accept the version with -m"
	default:
		f.Reason = iri.Clean(seen.Info.AppName) + " " + text
	}
	return f
}

func synchronised(seen Observation, limits Limits) Finding {
	latest, solid := seen.Info.LatestMilestone, seen.Info.SolidMilestone
	f := Finding{Threshold: "at most " + plural(limits.MaxBehind, "milestone") + " behind"}
	if limits.WarnBehind != nil {
		f.Threshold += fmt.Sprintf(", warning from %d", *limits.WarnBehind+1)
	}
	if latest == nil || solid == nil {
		f.Verdict = Critical
		f.Reason = "the response lacks latestMilestoneIndex or latestSolidSubtangleMilestoneIndex"
		f.Hint = hints[iri.KindNotIRI]
		return f
	}
	behind := *latest - *solid
	f.Value = fmt.Sprintf("%s behind (%d of %d)", plural(behind, "milestone"), *solid, *latest)
	switch {
	case *solid <= 0:
		f.Verdict, f.Reason = Critical, "not synchronised: no milestone is solid yet"
		f.Hint = "wait, or load a snapshot"
	case behind > limits.MaxBehind:
		f.Verdict = Critical
		f.Reason = fmt.Sprintf("not synchronised: more than %s behind", plural(limits.MaxBehind, "milestone"))
		f.Hint = "wait until it has caught up; if it does not, check its neighbours"
	case limits.WarnBehind != nil && behind > *limits.WarnBehind:
		f.Verdict = Warning
		f.Reason = fmt.Sprintf("lagging: more than %s behind", plural(*limits.WarnBehind, "milestone"))
		f.Hint = "wait until it has caught up; if it does not, check its load and its neighbours"
	default:
		f.Reason = "synchronised"
	}
	return f
}

// progress detects a node that looks synchronised because it has just started: both its milestones are that of its
// snapshot, and it refuses tip selection until a newer one is solid.
func progress(seen Observation, limits Limits) Finding {
	f := Finding{Threshold: "a solid milestone after the snapshot"}
	snapshot := seen.Info.SnapshotMilestone
	if snapshot == nil { // before 1.6.0
		snapshot = seen.Info.StartMilestone
	}
	solid := seen.Info.SolidMilestone
	if snapshot == nil || solid == nil {
		f.Value = "not reported"
		return f
	}
	f.Value = fmt.Sprintf("solid %d, snapshot %d", *solid, *snapshot)
	if *snapshot > 0 && *solid <= *snapshot && limits.AtSnapshot != OK {
		f.Verdict, f.Reason = limits.AtSnapshot, "no milestone after the snapshot is solid: the node has just started"
		f.Hint = "wait; if it stays like this, check its neighbours"
	}
	return f
}

// selfReport is the health that HORNET reports. HORNET also knows the age of its latest milestone, whereas to all other
// rules a node without connection to the network looks synchronised.
func selfReport(seen Observation, _ Limits) Finding {
	f := Finding{Value: "not reported", Threshold: "isHealthy, if reported"}
	if seen.Info.Healthy == nil {
		return f
	}
	f.Value = fmt.Sprintf("isHealthy is %t", *seen.Info.Healthy)
	if !*seen.Info.Healthy {
		f.Verdict, f.Reason = Warning, "the node reports that it is not healthy"
		f.Hint = "its latest milestone may be older than 5 minutes: check its neighbours and its clock"
	}
	return f
}

func neighbours(seen Observation, limits Limits) Finding {
	required := plural(limits.MinNeighbours, "neighbour") + " or more"
	f := Finding{Threshold: required}
	if limits.WarnNeighbours > 0 {
		f.Threshold += fmt.Sprintf(", warning below %d", limits.WarnNeighbours)
	}
	if seen.Info.Neighbours == nil {
		f.Verdict, f.Reason, f.Hint = Critical, "the response lacks neighbors", hints[iri.KindNotIRI]
		return f
	}
	have := *seen.Info.Neighbours
	f.Value = plural(have, "neighbour")
	switch {
	case have < limits.MinNeighbours:
		f.Verdict, f.Reason = Critical, "fewer than "+plural(limits.MinNeighbours, "neighbour")
		f.Hint = "add neighbours to the node, or accept fewer with -n"
	case have < limits.WarnNeighbours:
		f.Verdict, f.Reason = Warning, "fewer than "+plural(limits.WarnNeighbours, "neighbour")
		f.Hint = "add neighbours to the node, or accept fewer with --warn-neighbours"
	default:
		f.Reason = required
	}
	return f
}

func answerTime(seen Observation, limits Limits) Finding {
	f := Finding{
		Value:     fmt.Sprintf("%d ms, %d ms reported by the node", seen.Took.Milliseconds(), seen.Info.Duration),
		Threshold: "at most " + limits.MaxAnswerTime.String(),
	}
	if limits.WarnAnswerTime > 0 {
		f.Threshold += ", warning after " + limits.WarnAnswerTime.String()
	}
	longerThan := func(limit time.Duration) bool {
		return seen.Took > limit || seen.Info.Duration > limit.Milliseconds()
	}
	switch {
	case longerThan(limits.MaxAnswerTime):
		f.Verdict, f.Reason = Critical, "slow: getNodeInfo took longer than "+limits.MaxAnswerTime.String()
		f.Hint = "the node or the network is overloaded; raise the limit with -w"
	case limits.WarnAnswerTime > 0 && longerThan(limits.WarnAnswerTime):
		f.Verdict, f.Reason = Warning, "slow: getNodeInfo took longer than "+limits.WarnAnswerTime.String()
		f.Hint = "the node or the network is overloaded; raise the limit with --warn-answer"
	}
	return f
}

func pow(seen Observation, limits Limits) Finding {
	if !limits.PoW {
		return Finding{Value: "not checked"}
	}
	f := Finding{Value: "allowed", Threshold: "allowed", Reason: "PoW allowed"}
	switch outcomeOf(seen.Probes[attachToTangle]) {
	case available:
	case refused, unsupported:
		f.Value, f.Verdict, f.Reason = "refused", Critical, "PoW is not allowed: attachToTangle is refused"
		f.Hint = "remove attachToTangle from the node's REMOTE_LIMIT_API, or register the node without PoW"
	case noResponse:
		f.Value, f.Verdict, f.Reason = "no response", Critical, seen.Probes[attachToTangle].Error()
	}
	return f
}

func limited(seen Observation, limits Limits) Finding {
	if !limits.Limited {
		return Finding{Value: "not checked"}
	}
	f := Finding{Value: "all refused", Threshold: "all refused", Reason: "limited commands refused"}
	var open []string
	for _, command := range limits.LimitedCommands() {
		switch err := seen.Probes[command]; outcomeOf(err) {
		case refused:
		case available, unsupported:
			open = append(open, command)
		case noResponse:
			f.Value, f.Verdict, f.Reason = "no response", Critical, err.Error()
			return f
		}
	}
	if len(open) > 0 {
		f.Value, f.Verdict = "open: "+strings.Join(open, ", "), Critical
		f.Reason = "not refused to this host: " + strings.Join(open, ", ")
		f.Hint = "extend the node's REMOTE_LIMIT_API, or use -i if the node trusts this host"
	}
	return f
}

// outcome is how a node treats a command that is sent without its parameters.
type outcome int

const (
	available   outcome = iota // with parameters the node would execute it
	refused                    // status 401, in HORNET 403
	unsupported                // the command is unknown (HORNET without PoW)
	noResponse                 // no response that comes from a node
)

func outcomeOf(err error) outcome {
	var e *iri.Error
	switch {
	case err == nil:
		return available
	case !errors.As(err, &e):
		return noResponse
	case e.Kind == iri.KindDenied, e.Kind == iri.KindAuth:
		return refused
	case e.Kind == iri.KindFailed && e.FromNode && strings.Contains(e.Text, "is unknown"):
		return unsupported
	case e.Kind == iri.KindFailed && e.FromNode:
		return available
	}
	return noResponse
}

func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
