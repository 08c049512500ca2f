package nodecheck

import (
	"fmt"
	"strings"
)

// Verdict is the result of a check. Its value is the exit code for Consul and Nagios.
type Verdict int

// The verdicts, from best to worst.
const (
	OK Verdict = iota
	Warning
	Critical
)

func (v Verdict) String() string { return [...]string{"OK", "WARNING", "CRITICAL"}[v] }

// ConsulStatus is the name of the verdict as a status of a Consul check.
func (v Verdict) ConsulStatus() string { return [...]string{"passing", "warning", "critical"}[v] }

// Finding is the result of one rule.
type Finding struct {
	// Rule is the name of the rule, for example "synchronised".
	Rule string
	// Value is what was found and Threshold what is required, both for display. They may vary from check to check and
	// are never part of the line.
	Value, Threshold string
	Verdict          Verdict
	// Reason is the text for the line; it does not vary while the reason is the same.
	Reason string
	// Hint says what to do, or is "".
	Hint string
}

// Result is the outcome of a check. Findings that explain others come before them.
type Result struct {
	// Address is the node's URL without credentials.
	Address  string
	Findings []Finding
}

// Verdict is the worst verdict of the findings.
func (r Result) Verdict() Verdict {
	worst := OK
	for _, f := range r.Findings {
		worst = max(worst, f.Verdict)
	}
	return worst
}

// Line is the verdict with its reason, on one line. If several rules fail it gives only the first of those with the
// worst verdict, so that a less severe one that comes and goes does not change the line.
func (r Result) Line() string {
	verdict := r.Verdict()
	var reasons []string
	for _, f := range r.Findings {
		switch {
		case f.Verdict != verdict || f.Reason == "":
		case verdict == OK:
			reasons = append(reasons, f.Reason)
		default:
			return fmt.Sprintf("%s: %s: %s", verdict, r.Address, f.reasonAndHint())
		}
	}
	return fmt.Sprintf("%s: %s", verdict, strings.Join(reasons, ", "))
}

func (f Finding) reasonAndHint() string {
	if f.Hint == "" {
		return f.Reason
	}
	return f.Reason + "; " + f.Hint
}
