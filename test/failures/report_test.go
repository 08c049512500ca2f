package failures

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

var report = harness.Report{Page: "docs/reliability.md", Section: "failures"}

// machine says where and with what the run is made.
func machine(t *testing.T) string {
	t.Helper()
	version := harness.Output("docker", "run", "--rm", "--entrypoint", "nginx", nginxImage, "-v")
	return harness.DescribeMachine(t, "make failures",
		fmt.Sprintf("before: HAProxy's configuration as of commit %s", harness.Base()),
		fmt.Sprintf("nginx: `%s` (%s)", nginxImage, strings.TrimPrefix(version, "nginx version: ")),
		fmt.Sprintf("times: %s of calm; the fault: %s, where a try takes until its timeout %s, and %s if all nodes fail so; then until the nodes are back, "+
			"for %s at most", calm, shortFault, longFault, longestFault, recovery))
}

// writeReport writes the results of a run of all rows, also when some of them have failed.
func writeReport(t *testing.T, started string, all []*configuration, results []*result, attacks []*attack) {
	t.Helper()
	text := started + "\n" + tables(all, results, attacks)
	if len(results) < len(faults)*len(failingNodes)*len(all) || len(attacks) < len(all) {
		t.Logf("%d cells have run: %s stays as it is\n%s", len(results), report.Page, text)
		return
	}
	report.RequireWrite(t, text)
}

func tables(all []*configuration, results []*result, attacks []*attack) string {
	var b strings.Builder
	missed, names := 0, []string{}
	for _, r := range results {
		missed += r.misses().count()
	}
	for _, c := range all {
		names = append(names, c.name)
	}
	fmt.Fprintf(&b, "Figures that are not as wanted: %d. In each cell: %s.\n", missed, strings.Join(names, " / "))
	for _, n := range failingNodes {
		b.WriteString(summary(n, results))
	}
	b.WriteString(attackTable(attacks))
	for _, n := range failingNodes {
		b.WriteString(details(n, results))
	}
	return b.String()
}

// some says whether there is a result with so many failing nodes: RUN may select others.
func some(failing int, results []*result) bool {
	return slices.ContainsFunc(results, func(r *result) bool { return r.failing == failing })
}

func howMany(failing int) string {
	if failing == nodesEach {
		return "All nodes fail"
	}
	return fmt.Sprintf("%d of %d nodes fail", failing, nodesEach)
}

const summaryHead = "| fault | getNodeInfo failed | reading, storing failed | attachToTangle failed | without a reason " +
	"| longest getNodeInfo, s | out, s | back, s | tries |\n|---|---|---|---|---|---|---|---|---|\n"

// summary has a line for each fault, with the configurations beside each other.
func summary(failing int, results []*result) string {
	if !some(failing, results) {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n### %s\n\n%s", howMany(failing), summaryHead)
	for _, f := range faults {
		var columns [8][]string
		for _, r := range results {
			if r.fault.name == f.name && r.failing == failing {
				for i, text := range r.summary() {
					columns[i] = append(columns[i], text)
				}
			}
		}
		if columns[0] == nil {
			continue
		}
		fmt.Fprintf(&b, "| %s |", f.name)
		for _, texts := range columns {
			fmt.Fprintf(&b, " %s |", strings.Join(texts, " / "))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// summary is the part of a result in the columns of summaryHead.
func (r *result) summary() [8]string {
	if !r.done {
		return [8]string{"FAILED", "FAILED", "FAILED", "FAILED", "FAILED", "FAILED", "FAILED", "FAILED"}
	}
	m, all, info := r.misses(), r.sum(anyCommand), r.commands["getNodeInfo"]
	return [8]string{
		mark(m.getNodeInfo, fmt.Sprint(info.failed)),
		mark(m.others, fmt.Sprint(r.sum(isOther).failed)),
		fmt.Sprint(r.commands["attachToTangle"].failed),
		mark(m.unexplained, fmt.Sprint(all.unexplained)),
		mark(m.longest, info.longestText()),
		mark(m.out, r.out.text("stays")),
		mark(m.back, r.back.text(fmt.Sprintf("> %d", int(recovery.Seconds())))),
		mark(m.tries, all.triesText()),
	}
}

// details has a line for each fault and configuration, and all figures of each command.
func details(failing int, results []*result) string {
	if !some(failing, results) {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n<details><summary>%s: each command</summary>\n\n| fault | configuration |", howMany(failing))
	for _, c := range commands {
		fmt.Fprintf(&b, " %s |", c.name)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(commands)) + "\n")
	for _, r := range results {
		if r.failing == failing {
			b.WriteString(r.line() + "\n")
		}
	}
	b.WriteString("\n</details>\n")
	return b.String()
}

// line is a line of details.
func (r *result) line() string {
	if !r.done {
		return fmt.Sprintf("| %s | %s | FAILED before its end |%s", r.fault.name, r.configuration.name, strings.Repeat(" |", len(commands)-1))
	}
	line := fmt.Sprintf("| %s | %s |", r.fault.name, r.configuration.name)
	for _, c := range commands {
		f := r.commands[c.name]
		line += fmt.Sprintf(" %d of %d, %s s, %s |", f.failed, f.requests, f.longestText(), f.triesText())
	}
	return line
}

func attackTable(attacks []*attack) string {
	if len(attacks) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n### %d requests that every node answers with 500\n\n", attackRequests)
	b.WriteString("| configuration | answered with the node's exception | wallets' requests | failed | nodes that left | longest pause of a node, s |\n" +
		"|---|---:|---:|---:|---:|---:|\n")
	for _, a := range attacks {
		if !a.done {
			fmt.Fprintf(&b, "| %s | FAILED before its end | | | | |\n", a.name)
			continue
		}
		missed := a.key == thisKey
		fmt.Fprintf(&b, "| %s | %d | %d | %s | %s | %s |\n", a.name, a.exceptions, a.requests, mark(missed && a.failed > 0, fmt.Sprint(a.failed)),
			mark(missed && a.left > 0, fmt.Sprint(a.left)), seconds(a.pause))
	}
	return b.String()
}

func (f figures) longestText() string {
	if f.abandoned {
		return "> " + seconds(f.longest)
	}
	return seconds(f.longest)
}

func (f figures) triesText() string {
	if f.during == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(f.tries)/float64(f.during))
}

func (m moment) text(never string) string {
	switch {
	case m.unknown:
		return "all wait"
	case m.never:
		return never
	}
	return seconds(max(0, m.after))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }

// mark marks what is not as wanted.
func mark(missed bool, text string) string {
	if missed {
		return "**missed: " + text + "**"
	}
	return text
}
