//go:build integration

package bench

import (
	"testing"
	"time"
)

// pairRounds: for each size of bodies, how many pairs of rounds the front end and the older one get.
var pairRounds = []struct{ size, times int }{{1000, 20}, {270_000, 10}}

const pairLasts = time.Second

// pairs are rounds of the front end, each compared with one of the older front end directly before or after it: the
// noise of the machine changes slower than that, and neither is always the first.
type pairs struct {
	size      int
	rate, cpu []float64 // as shares of the older one's
}

func measurePairs(t *testing.T, now, before *frontWay) (all []pairs) {
	t.Helper()
	for _, r := range pairRounds {
		p := pairs{size: r.size}
		for i := range r.times {
			var ours, theirs round
			if i%2 == 0 {
				ours, theirs = now.measure(t, r.size, pairLasts), before.measure(t, r.size, pairLasts)
			} else {
				theirs, ours = before.measure(t, r.size, pairLasts), now.measure(t, r.size, pairLasts)
			}
			p.rate = append(p.rate, ours.rate/theirs.rate)
			p.cpu = append(p.cpu, ours.cpu/theirs.cpu)
		}
		all = append(all, p)
	}
	return all
}
