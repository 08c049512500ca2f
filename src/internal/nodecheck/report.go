package nodecheck

import (
	"fmt"
	"strings"
)

// report is the JSON form of a Result.
type report struct {
	Address string       `json:"address"`
	Verdict string       `json:"verdict"`
	Code    int          `json:"exit_code"`
	Line    string       `json:"line"`
	Rules   []ruleReport `json:"rules"`
}

type ruleReport struct {
	Rule      string `json:"rule"`
	Verdict   string `json:"verdict"`
	Value     string `json:"value"`
	Threshold string `json:"threshold"`
	Reason    string `json:"reason,omitempty"`
	Hint      string `json:"hint,omitempty"`
}

// Report returns the result with all its findings, to be encoded as JSON. Unlike the line, the values may vary from
// check to check.
func (r Result) Report() any {
	out := report{Address: r.Address, Verdict: r.Verdict().ConsulStatus(), Code: int(r.Verdict()), Line: r.Line()}
	for _, f := range r.Findings {
		out.Rules = append(out.Rules, ruleReport{
			f.Rule, f.Verdict.ConsulStatus(), f.Value, f.Threshold, f.Reason, f.Hint,
		})
	}
	return out
}

// Explain returns a table of all findings, followed by the line.
func (r Result) Explain() string {
	rows := [][4]string{{"rule", "found", "wanted", "verdict"}}
	for _, f := range r.Findings {
		rows = append(rows, [4]string{f.Rule, f.Value, f.Threshold, f.Verdict.String()})
	}
	var width [3]int
	for _, row := range rows {
		for i := range width {
			width[i] = max(width[i], len([]rune(row[i])))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		fmt.Fprintf(&b, "%-*s  %-*s  %-*s  %s\n", width[0], row[0], width[1], row[1], width[2], row[2], row[3])
	}
	return b.String() + r.Line() + "\n"
}
