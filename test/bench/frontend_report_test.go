//go:build integration

package bench

import (
	"fmt"
	"slices"
	"strings"
)

func frontReport(ways []*frontWay) string {
	var b strings.Builder
	var wanted [][3]string
	rate := map[string]float64{}
	for _, w := range ways {
		rate[w.name] = middle(w.rounds[1000].rate)
	}
	for _, pair := range [][2]string{
		{"full", "bare"}, {"full", "bare, with a log"}, {"full, log of failures only", "bare"}, {"full, log of failures only, TLS", "bare, TLS"},
	} {
		wanted = append(wanted, [3]string{
			fmt.Sprintf("%s: requests a second with bodies of 1 kB, as a share of: %s", pair[0], pair[1]), "≥ 0.7", fmt.Sprintf("%.2f", rate[pair[0]]/rate[pair[1]]),
		})
	}
	b.WriteString("\n")
	writeWanted(&b, wanted)
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

func (w *frontWay) writeThroughput(b *strings.Builder, size int) {
	r := w.rounds[size]
	fmt.Fprintf(b, "| %s | %.0f | %.0f - %.0f | ", w.name, middle(r.rate), slices.Min(r.rate), slices.Max(r.rate))
	if w.pid == 0 {
		b.WriteString("| | | |\n")
		return
	}
	bare := w.bare.rounds[size]
	fmt.Fprintf(b, "%.2f | %.0f | %.2f | %.0f %% |\n", middle(r.rate)/middle(bare.rate), middle(r.cpu), middle(r.cpu)/middle(bare.cpu), 100*middle(r.busy))
}

// middle is the median.
func middle(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
