//go:build integration

package bench

import (
	"fmt"
	"slices"
	"strings"
)

func frontReport(ways []*frontWay, compared []pairs, parts []*frontWay) string {
	var b strings.Builder
	b.WriteString("\n")
	writeWanted(&b, frontWanted(ways, compared))
	writePairs(&b, compared)
	writeParts(&b, parts)
	for _, r := range throughputRounds {
		fmt.Fprintf(&b, "\n**As fast as it goes, bodies of %d bytes.** Medians of %d rounds of %s. CPU is that of HAProxy's worker.\n\n", r.size, r.times, r.lasts)
		b.WriteString("| way | requests a second | min - max | of bare | CPU for 1000 requests, ms | times bare | CPU, of one core |\n|---|---|---|---|---|---|---|\n")
		for _, w := range ways {
			w.writeThroughput(&b, r.size)
		}
	}
	fmt.Fprintf(&b, "\n**%d requests a second, bodies of 1 kB.** Milliseconds until the answer is there.\n\n", pace)
	b.WriteString("| way | median | p99 | more than directly: median | p99 | requests |\n|---|---|---|---|---|---|\n")
	direct := ways[0].paced
	for _, w := range ways {
		fmt.Fprintf(&b, "| %s | %.2f | %.2f | %.2f | %.2f | %d |\n", w.name, millis(w.paced.median()), millis(w.paced.at(0.99)),
			millis(w.paced.median()-direct.median()), millis(w.paced.at(0.99)-direct.at(0.99)), len(w.paced))
	}
	return b.String()
}

func frontWanted(ways []*frontWay, compared []pairs) (wanted [][3]string) {
	rate, large := map[string]float64{}, map[string]float64{}
	for _, w := range ways {
		rate[w.name], large[w.name] = w.middle(1000, requestRate), w.middle(270_000, cpuTime)
	}
	row := func(what, goal string, measured float64) {
		wanted = append(wanted, [3]string{what, goal, fmt.Sprintf("%.2f", measured)})
	}
	for _, pair := range [][2]string{
		{"full", "bare"}, {"full", "bare, with a log"}, {"full, log of failures only", "bare"}, {"full, log of failures only, TLS", "bare, TLS"},
	} {
		row(fmt.Sprintf("%s: requests a second with bodies of 1 kB, as a share of: %s", pair[0], pair[1]), "≥ 0.7", rate[pair[0]]/rate[pair[1]])
	}
	const judged = "full, log of failures only"
	for _, p := range compared {
		row(fmt.Sprintf("%s: requests a second with bodies of %d bytes, as a share of: before", judged, p.size), "≥ 0.97", middle(p.rate))
	}
	row(judged+": HAProxy's CPU time for a body of 270 kB, as a multiple of: bare", "< 5.1", large[judged]/large["bare"])
	return wanted
}

func (w *frontWay) writeThroughput(b *strings.Builder, size int) {
	rates := w.values(size, requestRate)
	fmt.Fprintf(b, "| %s | %.0f | %.0f - %.0f | ", w.name, middle(rates), slices.Min(rates), slices.Max(rates))
	if w.pid == 0 {
		b.WriteString("| | | |\n")
		return
	}
	cpu := w.middle(size, cpuTime)
	fmt.Fprintf(b, "%.2f | %.0f | %.2f | %.0f %% |\n", middle(rates)/w.bare.middle(size, requestRate), cpu, cpu/w.bare.middle(size, cpuTime), 100*w.middle(size, busy))
}

func writePairs(b *strings.Builder, compared []pairs) {
	fmt.Fprintf(b, "\n**Full beside before, both with a log of failures only.** Rounds of %s in pairs, as shares of before's: median (quartiles).\n\n", pairLasts)
	b.WriteString("| bodies | requests a second | CPU for a request | pairs |\n|---|---|---|---|\n")
	for _, p := range compared {
		fmt.Fprintf(b, "| %d bytes | %s | %s | %d |\n", p.size, quartiles(p.rate), quartiles(p.cpu), len(p.rate))
	}
}

func quartiles(values []float64) string {
	sorted := slices.Sorted(slices.Values(values))
	return fmt.Sprintf("%.2f (%.2f - %.2f)", middle(values), sorted[len(sorted)/4], sorted[len(sorted)*3/4])
}

func requestRate(r round) float64 { return r.rate }
func cpuTime(r round) float64     { return r.cpu }
func busy(r round) float64        { return r.busy }

func (w *frontWay) values(size int, of func(round) float64) (all []float64) {
	for _, r := range w.rounds[size] {
		all = append(all, of(r))
	}
	return all
}

func (w *frontWay) middle(size int, of func(round) float64) float64 {
	return middle(w.values(size, of))
}

// middle is the median.
func middle(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
