//go:build integration

package bench

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// attackRow is one attack and its effect on other clients.
type attackRow struct {
	name, way string
	// sources is how many addresses attack, with that many workers each.
	sources, workers int

	ends          map[string]int // what the attacker got, and how often
	quiet, during others
	memory        int     // of HAProxy, the most, in KiB
	busy          float64 // HAProxy's CPU time as a share of a core
}

// others are the requests of well-behaved clients.
type others struct {
	kept, fresh samples // on connections that stay open, and on a new connection each
	ends        map[string]int
}

const (
	// The others are watched for quietTime before and after the attack, and for attackTime during it.
	quietTime  = 20 * time.Second
	attackTime = time.Minute
	// How many of the others keep their connection, and how many do not.
	keepers, freshers = 20, 10
)

// TestAttack attacks HAProxy with the installed limits while other clients send requests at a moderate pace. Nothing
// depends on time: it fails when one of the others gets no answer.
func TestAttack(t *testing.T) {
	target := harness.Report{Page: "docs/security.md", Section: "attack"}
	target.RequireBegin(t)
	harness.BuildStatic(t, "./test/bench/attack", "attack")
	f := startAttacked(t, harness.Vars{"haproxy_https": true, "max_backend_slots": 100, "max_backend_tls_slots": 20, "max_pow_backend_slots": 20, "max_pow_backend_tls_slots": 5})
	f.Serve(t, harness.Backend, 1, quickNode(t))
	rows := []*attackRow{
		{name: "nothing", sources: 1},
		{name: "a flood of small requests", way: "flood", sources: 1, workers: 50},
		{name: "a flood of connections with TLS", way: "connections", sources: 1, workers: 50},
		{name: "headers, a byte a second", way: "slow-headers", sources: 1, workers: 150},
		{name: "bodies, a byte a second", way: "slow-bodies", sources: 1, workers: 150},
		{name: "bodies of 900 kB within 10 s, but for their end", way: "late-bodies", sources: 8, workers: 100},
		{name: "bodies of 990 kB, one after the other", way: "large-bodies", sources: 1, workers: 4},
	}
	for i, r := range rows {
		t.Run(r.name, func(t *testing.T) { r.run(t, f, i) })
	}
	text := describeMachine(t, "make attack") + attackReport(rows)
	target.RequireWrite(t, text)
}

// startAttacked has the installed limits, and nobody is whitelisted.
func startAttacked(t *testing.T, vars harness.Vars) *harness.HAProxy {
	t.Helper()
	return harness.StartHAProxy(t, harness.WithoutHealthChecks(), harness.WithVars(harness.Vars{"haproxy_whitelist": []string{}}), harness.WithVars(vars))
}

func (r *attackRow) run(t *testing.T, f *harness.HAProxy, number int) {
	r.quiet = watchOthers(t, f, quietTime)
	attacked := startAttack(t, f, r, number)
	pid := f.WorkerPID(t)
	cpu, begun, stop := harness.CPUTime(t, pid), time.Now(), make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for {
			r.memory = max(r.memory, harness.Memory(pid, "VmRSS"))
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
	r.during = watchOthers(t, f, attackTime)
	r.busy = (harness.CPUTime(t, pid) - cpu).Seconds() / time.Since(begun).Seconds()
	close(stop)
	group.Wait()
	r.ends = attacked()
	harness.Eventually(t, 30*time.Second, "HAProxy has closed what the attacker left", func() error {
		if n := f.Info(t, "CurrConns"); len(n) > 1 { // ten or more
			return fmt.Errorf("%s connections", n)
		}
		return nil
	})
	r.quiet.merge(watchOthers(t, f, quietTime))
	for _, o := range []others{r.quiet, r.during} {
		assert.Equal(t, []string{"200"}, slices.Sorted(maps.Keys(o.ends)), "the others' answers: %v", o.ends)
	}
}

// startAttack runs the attack for a second and then as long as the others are watched. It has the lowest priority:
// unlike a real attacker it shares the cores with HAProxy. The function that it returns waits for its end.
func startAttack(t *testing.T, f *harness.HAProxy, r *attackRow, number int) (wait func() map[string]int) {
	t.Helper()
	if r.way == "" {
		return func() map[string]int { return nil }
	}
	var sources []string
	for i := range r.sources {
		sources = append(sources, fmt.Sprintf("127.0.%d.%d", 100+number, 1+i))
	}
	cmd := exec.Command("nice", "-n", "19", harness.Program("attack"), "-way", r.way, "-addr", harness.Local(f.Port), "-ca", f.WalletsCA(),
		"-sources", strings.Join(sources, ","), "-workers", fmt.Sprint(r.workers), "-for", (attackTime + time.Second).String())
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	require.NoError(t, cmd.Start())
	harness.Keep(time.Second) // the attack is at its full strength
	return func() map[string]int {
		require.NoError(t, cmd.Wait())
		ends := map[string]int{}
		require.NoError(t, json.Unmarshal([]byte(out.String()), &ends), out.String())
		return ends
	}
}

// watchOthers runs the well-behaved clients, each with a source address of its own.
func watchOthers(t *testing.T, f *harness.HAProxy, lasts time.Duration) others {
	t.Helper()
	runtime.GC()
	request := postOf("getNodeInfo", 1000)
	secured := trusting(t, f.WalletsCA())
	all := others{ends: map[string]int{}}
	var mu sync.Mutex
	var group sync.WaitGroup
	until := time.Now().Add(lasts)
	for i := range keepers + freshers {
		c := &caller{to: target{addr: harness.Local(f.Port), tls: secured, from: fmt.Sprintf("127.0.50.%d", 1+i)}}
		fresh := i >= keepers
		if !fresh {
			require.NoError(t, c.ok(request))
		}
		group.Go(func() {
			defer c.close()
			found := paced(100*time.Millisecond, until, func() string {
				defer func() {
					if fresh {
						c.close()
					}
				}()
				return what(c.do(request))
			})
			mu.Lock()
			defer mu.Unlock()
			all.add(found, fresh)
		})
	}
	group.Wait()
	return all
}

func (o *others) add(found []attempt, fresh bool) {
	for _, a := range found {
		o.ends[a.end]++
		if fresh {
			o.fresh = append(o.fresh, a.took)
		} else {
			o.kept = append(o.kept, a.took)
		}
	}
}

func (o *others) merge(more others) {
	o.kept, o.fresh = append(o.kept, more.kept...), append(o.fresh, more.fresh...)
	for end, count := range more.ends {
		o.ends[end] += count
	}
}

func attackReport(rows []*attackRow) string {
	var b strings.Builder
	b.WriteString("\n| attack | from | the attacker got | others, kept connections: median | p99 | of quiet | others, a new connection each: median | p99 | of quiet | " +
		"others' failures | HAProxy's CPU, cores | HAProxy's memory |\n|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, r := range rows {
		from := fmt.Sprintf("1 source, %d connections", r.workers)
		if r.sources > 1 {
			from = fmt.Sprintf("%d sources, %d connections each", r.sources, r.workers)
		}
		if r.way == "" {
			from = "-"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %d | %.2f | %.0f MiB |\n", r.name, from, r.got(),
			beside(r.during.kept, r.quiet.kept)+" | "+beside(r.during.fresh, r.quiet.fresh), r.during.failures(), r.busy, float64(r.memory)/1024)
	}
	return b.String()
}

// beside is the median and p99 during the attack, and p99 as a multiple of that of the quiet time.
func beside(during, quiet samples) string {
	return fmt.Sprintf("%.1f ms | %.1f ms | %.2f", millis(during.median()), millis(during.at(0.99)), millis(during.at(0.99))/millis(quiet.at(0.99)))
}

func (r *attackRow) got() string {
	if len(r.ends) == 0 {
		return "-"
	}
	var parts []string
	for _, end := range slices.Sorted(maps.Keys(r.ends)) {
		parts = append(parts, fmt.Sprintf("%s: %d", end, r.ends[end]))
	}
	return strings.Join(parts, ", ")
}

func (o others) failures() (n int) {
	for end, count := range o.ends {
		if end != "200" {
			n += count
		}
	}
	return n
}
