package nodecheck

import (
	"fmt"
	"strings"
)

// Verdict is what a check says of a node. Its number is the exit code that
// Consul and Nagios know.
type Verdict int

// The verdicts. Greater is worse.
const (
	OK Verdict = iota
	Warning
	Critical
)

func (v Verdict) String() string { return [...]string{"OK", "WARNING", "CRITICAL"}[v] }

// ConsulStatus is Consul's word for it.
func (v Verdict) ConsulStatus() string { return [...]string{"passing", "warning", "critical"}[v] }

// Finding is what one rule says of a node.
type Finding struct {
	// Rule is the rule's name, for example "synchronised".
	Rule string
	// Value is what was found and Threshold what was wanted, for people. They may
	// move from one check to the next and so are never part of the line.
	Value, Threshold string
	Verdict          Verdict
	// Reason is the steady sentence of the line.
	Reason string
	// Hint says what to do about it, or "".
	Hint string
}

// Result is the findings, those first that explain the later ones.
type Result struct {
	// Address is the node's, without credentials.
	Address  string
	Findings []Finding
}

// Verdict is the worst of the findings.
func (r Result) Verdict() Verdict {
	worst := OK
	for _, f := range r.Findings {
		worst = max(worst, f.Verdict)
	}
	return worst
}

// Line is the one line that says why. When several rules fail it tells the
// first of the worst only: a lesser one that comes and goes must not change it.
func (r Result) Line() string {
	verdict := r.Verdict()
	var reasons []string
	for _, f := range r.Findings {
		switch {
		case f.Verdict != verdict || f.Reason == "":
		case verdict == OK:
			reasons = append(reasons, f.Reason)
		default:
			return fmt.Sprintf("%s: %s: %s", verdict, r.Address, f.sentence())
		}
	}
	return fmt.Sprintf("%s: %s", verdict, strings.Join(reasons, ", "))
}

func (f Finding) sentence() string {
	if f.Hint == "" {
		return f.Reason
	}
	return f.Reason + "; " + f.Hint
}
