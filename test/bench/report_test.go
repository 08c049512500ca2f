//go:build integration

package bench

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// report is everything that a run has measured.
type report struct {
	machine string
	changes []*changeResult
	fill    *fillResult
}

func (r *report) String() string {
	var b strings.Builder
	b.WriteString(r.machine + "\n### Wanted and measured\n\n")
	writeWanted(&b, r.wanted())
	for _, c := range r.changes {
		c.write(&b)
	}
	r.fill.write(&b)
	return b.String()
}

// command is the command line that repeats the report.
func (s settings) command() string { return strings.Join(append(s.changed, "make bench"), " ") }

func writeWanted(b *strings.Builder, rows [][3]string) {
	b.WriteString("| what | wanted | measured |\n|---|---|---|\n")
	for _, row := range rows {
		fmt.Fprintf(b, "| %s | %s | %s |\n", row[0], row[1], row[2])
	}
}

func (r *report) wanted() [][3]string {
	var rows [][3]string
	for _, c := range r.changes {
		wanted, ok := map[int]string{200: "≤ 1.5", 2000: "≤ 2"}[c.nodes]
		if !ok {
			wanted = "-"
		}
		h, f := c.way(waysHandler), c.way(waysFloor)
		for _, dir := range []struct {
			name           string
			ours, verified samples
			floor          samples
		}{
			{"leaving", h.leaving, h.leavingVerified, f.leaving},
			{"coming back", h.returning, h.returningVerified, f.returning},
		} {
			rows = append(rows, [3]string{
				fmt.Sprintf("change seen and verified, %d nodes, %s: median, as a multiple of the floor's", c.nodes, dir.name), wanted,
				fmt.Sprintf("seen %s, verified %s", ratio(dir.ours, dir.floor), ratio(dir.verified, dir.floor)),
			})
		}
	}
	fill := "first reconciliation: not known; sync, with its start and Consul's answer: " + ratio(r.fill.sync, r.fill.raw)
	if len(r.fill.first) > 0 {
		fill = "first reconciliation " + ratio(r.fill.first, r.fill.raw) + "; sync, with its start and Consul's answer: " + ratio(r.fill.sync, r.fill.raw)
	}
	return append(rows,
		[3]string{fmt.Sprintf("filling two pools with %d nodes each, verified: as a multiple of raw", fillNodes), "≤ 1.5", fill})
}

func ratio(a, b samples) string {
	return fmt.Sprintf("%.2f", float64(a.median())/float64(b.median()))
}

func (c *changeResult) way(key string) *way {
	return c.ways[slices.IndexFunc(c.ways, func(w *way) bool { return w.key == key })]
}

func (c *changeResult) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n### From Consul's check to HAProxy, %d nodes\n\n", c.nodes)
	b.WriteString(fmt.Sprintf("Milliseconds. One look of the observer took %.2f.\n\n", c.look.Seconds()*1000) +
		"| way | leaving: median | p95 | max | coming back: median | p95 | max | toggles each |\n|---|---|---|---|---|---|---|---|\n")
	slices.SortFunc(c.ways, func(x, y *way) int { return int(x.leaving.median() - y.leaving.median()) })
	for _, w := range c.ways {
		writeSamples(b, w.name, w.leaving, w.returning)
		if len(w.leavingVerified) > 0 {
			writeSamples(b, w.name+", until it has verified it", w.leavingVerified, w.returningVerified)
		}
	}
	var absent []string
	for name, why := range c.absent {
		absent = append(absent, fmt.Sprintf("| %s | %s | | | | | | |\n", name, why))
	}
	slices.Sort(absent)
	b.WriteString(strings.Join(absent, ""))
}

func writeSamples(b *strings.Builder, name string, leaving, returning samples) {
	fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s | %d |\n", name,
		ms(leaving.median()), ms(leaving.at(0.95)), ms(leaving.at(1)),
		ms(returning.median()), ms(returning.at(0.95)), ms(returning.at(1)), len(leaving))
}

func (f *fillResult) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n### Filling two empty pools with %d nodes each\n\nMilliseconds.\n\n", fillNodes)
	b.WriteString("| way | median | min | max | times |\n|---|---|---|---|---|\n")
	for _, row := range []struct {
		name string
		s    samples
	}{
		{"the same commands raw, 64 in flight, not verified", f.raw},
		{"the daemon's first reconciliation, verified, by its own clock", f.first},
		{"`iri-lb-handler sync` from its start to its end", f.sync},
	} {
		if len(row.s) > 0 {
			fmt.Fprintf(b, "| %s | %s | %s | %s | %d |\n", row.name, ms(row.s.median()), ms(row.s.at(0)), ms(row.s.at(1)), len(row.s))
		}
	}
}

func (i *idleResult) write(b *strings.Builder) {
	writeWanted(b, [][3]string{
		{fmt.Sprintf("memory of the daemon (RSS) with %d nodes", idleNodes), "≤ 40 MiB", mebibytes(i.rss)},
		{fmt.Sprintf("idle CPU of the daemon with %d nodes", idleNodes), "≤ 1 % of a core", i.share()},
	})
	b.WriteString("\n| what | measured |\n|---|---|\n")
	fmt.Fprintf(b, "| time | %s |\n| check results that arrived, all as before | %d, one in %.1f ms |\n",
		i.lasted.Round(time.Second), i.results, i.lasted.Seconds()*1000/float64(i.results))
	fmt.Fprintf(b, "| CPU | %.2f s, %s |\n| RSS | %s |\n| highest RSS since the start | %s |\n| reconciliations | %.0f |\n",
		i.cpu.Seconds(), i.share(), mebibytes(i.rss), mebibytes(i.peak), i.reconciliations)
}

func (i *idleResult) share() string {
	return fmt.Sprintf("%.2f %% of a core", 100*i.cpu.Seconds()/i.lasted.Seconds())
}

func ms(d time.Duration) string {
	v := float64(d) / float64(time.Millisecond)
	if v < 99.95 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func mebibytes(kib int) string { return fmt.Sprintf("%.1f MiB", float64(kib)/1024) }

// describeMachine also names the programs that only a benchmark uses.
func describeMachine(t *testing.T, command string) string {
	t.Helper()
	var more []string
	if program := renderProgram(); program != "" {
		more = append(more, "consul-template: "+harness.Output(program, "-version"))
	}
	return harness.DescribeMachine(t, command, more...)
}
