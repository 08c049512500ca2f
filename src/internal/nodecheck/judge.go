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

// rule judges one property. It is only called when getNodeInfo was answered.
type rule struct {
	name  string
	judge func(Observation, Limits) Finding
}

// rules in the order in which a reader wants to know: a node that is another
// application, or lost its sync, explains much of what follows.
var rules = []rule{
	{"application", application},
	{"version", version},
	{"synchronised", synchronised},
	{"progress", progress},
	{"own-opinion", ownOpinion},
	{"neighbours", neighbours},
	{"answer-time", answerTime},
	{"pow", pow},
	{"limited", limited},
}

// Check asks a node and judges it. address is what the line calls the node.
func Check(ctx context.Context, node Node, address string, limits Limits) Result {
	return Result{Address: address, Findings: Judge(Observe(ctx, node, limits), limits)}
}

// Judge applies every rule to what was seen of a node. It does no I/O.
func Judge(seen Observation, limits Limits) []Finding {
	if seen.Err != nil {
		return []Finding{unanswered(seen.Err)}
	}
	var findings []Finding
	for _, r := range rules {
		f := r.judge(seen, limits)
		f.Rule = r.name
		findings = append(findings, f)
	}
	return findings
}

func unanswered(err error) Finding {
	return Finding{
		Rule: "answer", Value: err.Error(), Threshold: "an answer to getNodeInfo", Verdict: Critical,
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
		return "the answer is not the node's own: see to the proxy before it, and to http or https in -a"
	case errors.As(err, &name):
		return "give the name that the certificate has by --server-name, or trust any by -k"
	}
	return hints[iri.KindOf(err)]
}

var hints = map[iri.Kind]string{
	iri.KindTimeout:     "is the node overloaded, or a firewall in the way?",
	iri.KindName:        "correct the address, or the name server",
	iri.KindRefused:     "is the node running, and its API open for this host (IRI: REMOTE = true)?",
	iri.KindUnreachable: "correct the address, or the route to it",
	iri.KindCertificate: "correct the certificate, trust its authority by --ca-file, or any by -k",
	iri.KindTLS:         "does the node ask for a certificate? give one by --cert-file and --key-file",
	iri.KindNotTLS:      "write http:// instead of https:// in -a, if that is what the node speaks",
	iri.KindNotHTTP:     "write https:// instead of http:// in -a, if that is what the node speaks",
	iri.KindRedirect:    "give the address to which it leads in -a",
	iri.KindNotIRI:      "is there an IRI node at this address?",
	iri.KindDenied:      "is getNodeInfo in the node's REMOTE_LIMIT_API? a check needs it",
	iri.KindPassword:    "give them by --user-file, or in -a: https://USER:PASSWORD@HOST:PORT",
}

func application(seen Observation, limits Limits) Finding {
	name := iri.Clean(seen.Info.AppName)
	f := Finding{Value: name, Threshold: iri.Clean(strings.Join(limits.AppNames, " or "))}
	switch {
	case name == "":
		f.Verdict, f.Reason = Critical, "the answer has no appName"
		f.Hint = hints[iri.KindNotIRI]
	case !slices.Contains(limits.AppNames, seen.Info.AppName):
		f.Verdict, f.Reason = Critical, fmt.Sprintf("the application is %q and not %s", name, f.Threshold)
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
		f.Verdict, f.Reason = Critical, "the answer has no appVersion"
		f.Hint = hints[iri.KindNotIRI]
	case err != nil:
		f.Verdict, f.Reason = Critical, "appVersion "+err.Error()
	case have.Compare(limits.MinVersion) < 0:
		f.Verdict, f.Reason = Critical, fmt.Sprintf("version %s is older than %s", text, limits.MinVersion)
		f.Hint = "upgrade the node, or accept it with -m"
	default:
		f.Reason = iri.Clean(seen.Info.AppName) + " " + text
	}
	return f
}

func synchronised(seen Observation, limits Limits) Finding {
	latest, solid := seen.Info.LatestMilestone, seen.Info.SolidMilestone
	f := Finding{Threshold: "at most " + count(limits.MaxBehind, "milestone") + " behind"}
	if limits.WarnBehind != nil {
		f.Threshold += fmt.Sprintf(", warning from %d on", *limits.WarnBehind+1)
	}
	if latest == nil || solid == nil {
		f.Verdict = Critical
		f.Reason = "the answer lacks latestMilestoneIndex or latestSolidSubtangleMilestoneIndex"
		f.Hint = hints[iri.KindNotIRI]
		return f
	}
	behind := *latest - *solid
	f.Value = fmt.Sprintf("%s behind (%d of %d)", count(behind, "milestone"), *solid, *latest)
	switch {
	case *solid <= 0:
		f.Verdict, f.Reason = Critical, "not synchronised: it has no solid milestone yet"
		f.Hint = "wait, or give it a snapshot"
	case behind > limits.MaxBehind:
		f.Verdict = Critical
		f.Reason = fmt.Sprintf("not synchronised: its solid milestone is behind by more than %s", count(limits.MaxBehind, "milestone"))
		f.Hint = "wait until it has caught up; check its neighbours if it does not"
	case limits.WarnBehind != nil && behind > *limits.WarnBehind:
		f.Verdict = Warning
		f.Reason = fmt.Sprintf("nearly synchronised: its solid milestone is behind by more than %s", count(*limits.WarnBehind, "milestone"))
		f.Hint = "wait until it has caught up; check its load and its neighbours if it does not"
	default:
		f.Reason = "synchronised"
	}
	return f
}

// progress finds a node that looks synchronised because it has just started:
// both its milestones are the one of the snapshot that it was started from, and
// it refuses to select tips until a newer one is solid.
func progress(seen Observation, limits Limits) Finding {
	f := Finding{Threshold: "a solid milestone after the snapshot"}
	snapshot := seen.Info.SnapshotMilestone
	if snapshot == nil { // before 1.6.0
		snapshot = seen.Info.StartMilestone
	}
	solid := seen.Info.SolidMilestone
	if snapshot == nil || solid == nil {
		f.Value = "not told"
		return f
	}
	f.Value = fmt.Sprintf("solid %d, snapshot %d", *solid, *snapshot)
	if *snapshot > 0 && *solid <= *snapshot && limits.AtSnapshot != OK {
		f.Verdict, f.Reason = limits.AtSnapshot, "no milestone is solid after the snapshot: the node has just started"
		f.Hint = "wait; check its neighbours if it stays so"
	}
	return f
}

// ownOpinion is HORNET's: it also knows how old its latest milestone is. A node
// that is cut off looks synchronised to all other rules.
func ownOpinion(seen Observation, _ Limits) Finding {
	f := Finding{Value: "not told", Threshold: "isHealthy, if it is told"}
	if seen.Info.Healthy == nil {
		return f
	}
	f.Value = fmt.Sprintf("isHealthy is %t", *seen.Info.Healthy)
	if !*seen.Info.Healthy {
		f.Verdict, f.Reason = Warning, "the node itself says that it is not healthy"
		f.Hint = "its latest milestone is perhaps more than 5 minutes old: check its neighbours and its clock"
	}
	return f
}

func neighbours(seen Observation, limits Limits) Finding {
	wanted := count(limits.MinNeighbours, "neighbour") + " or more"
	f := Finding{Threshold: wanted}
	if limits.WarnNeighbours > 0 {
		f.Threshold += fmt.Sprintf(", warning below %d", limits.WarnNeighbours)
	}
	if seen.Info.Neighbours == nil {
		f.Verdict, f.Reason, f.Hint = Critical, "the answer lacks neighbors", hints[iri.KindNotIRI]
		return f
	}
	have := *seen.Info.Neighbours
	f.Value = count(have, "neighbour")
	switch {
	case have < limits.MinNeighbours:
		f.Verdict, f.Reason = Critical, "fewer than "+count(limits.MinNeighbours, "neighbour")
		f.Hint = "add neighbours to the node, or accept fewer with -n"
	case have < limits.WarnNeighbours:
		f.Verdict, f.Reason = Warning, "fewer than "+count(limits.WarnNeighbours, "neighbour")
		f.Hint = "add neighbours to the node, or accept fewer with --warn-neighbours"
	default:
		f.Reason = wanted
	}
	return f
}

func answerTime(seen Observation, limits Limits) Finding {
	f := Finding{
		Value:     fmt.Sprintf("%d ms, of which the node says %d ms", seen.Took.Milliseconds(), seen.Info.Duration),
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
		f.Hint = "the node or the way to it is overloaded; accept it with -w"
	case limits.WarnAnswerTime > 0 && longerThan(limits.WarnAnswerTime):
		f.Verdict, f.Reason = Warning, "slow: getNodeInfo took longer than "+limits.WarnAnswerTime.String()
		f.Hint = "the node or the way to it is overloaded; accept it with --warn-answer"
	}
	return f
}

func pow(seen Observation, limits Limits) Finding {
	if !limits.PoW {
		return Finding{Value: "not asked"}
	}
	f := Finding{Value: "allowed", Threshold: "allowed", Reason: "PoW allowed"}
	switch refusal(seen.Probes[attachToTangle]) {
	case answered:
	case refused, unknown:
		f.Value, f.Verdict, f.Reason = "refused", Critical, "PoW is not allowed: attachToTangle is refused"
		f.Hint = "take attachToTangle out of the node's REMOTE_LIMIT_API, or do not register it with PoW"
	case noAnswer:
		f.Value, f.Verdict, f.Reason = "no answer", Critical, seen.Probes[attachToTangle].Error()
	}
	return f
}

func limited(seen Observation, limits Limits) Finding {
	if !limits.Limited {
		return Finding{Value: "not asked"}
	}
	f := Finding{Value: "all refused", Threshold: "all refused", Reason: "limited commands refused"}
	var open []string
	for _, command := range limits.LimitedCommands() {
		switch err := seen.Probes[command]; refusal(err) {
		case refused:
		case answered, unknown:
			open = append(open, command)
		case noAnswer:
			f.Value, f.Verdict, f.Reason = "no answer", Critical, err.Error()
			return f
		}
	}
	if len(open) > 0 {
		f.Value, f.Verdict = "open: "+strings.Join(open, ", "), Critical
		f.Reason = "not refused from this host: " + strings.Join(open, ", ")
		f.Hint = "add to the node's REMOTE_LIMIT_API, or use -i if the node trusts this host"
	}
	return f
}

// answer is how a node treats a command that was sent without its parameters.
type answer int

const (
	answered answer = iota // it would run it
	refused                // 401, HORNET 403
	unknown                // it does not have it (HORNET with PoW switched off)
	noAnswer               // nothing that a node says
)

func refusal(err error) answer {
	var e *iri.Error
	switch {
	case err == nil:
		return answered
	case !errors.As(err, &e):
		return noAnswer
	case e.Kind == iri.KindDenied, e.Kind == iri.KindPassword:
		return refused
	case e.Kind == iri.KindFailed && e.FromNode && strings.Contains(e.Text, "is unknown"):
		return unknown
	case e.Kind == iri.KindFailed && e.FromNode:
		return answered
	}
	return noAnswer
}

func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
