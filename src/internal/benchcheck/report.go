package main

import (
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// What is wanted.
const (
	wantedShare = 0.6
	wantedCores = 0.05
	wantedPeak  = 40
)

// report is the section of docs/performance.md.
func report(o options, single processes, res resident) string {
	share := float64(single.check.cpu) / float64(single.curl.cpu)
	perSecond := float64(o.nodes) / o.interval.Seconds()
	processCores := single.check.cpu.Seconds() * perSecond
	var b strings.Builder
	fmt.Fprintf(&b, "## What the health checks cost\n\n")
	fmt.Fprintf(&b, "Measured by `make bench-check` on %s: %s, %d CPUs, %s. The nodes are fake ones on the same machine, over http.\n\n",
		time.Now().UTC().Format(time.DateOnly), processor(), runtime.NumCPU(), curlVersion())
	fmt.Fprintf(&b, "| one check of one node, mean of %d runs in turns | CPU | wall (median) |\n|---|---|---|\n", o.runs)
	fmt.Fprintf(&b, "| `curl` of the same request, and nothing else | %s | %s |\n", ms(single.curl.cpu), ms(single.curl.wall))
	fmt.Fprintf(&b, "| `iri-node-check -a … -i` | %s | %s |\n\n", ms(single.check.cpu), ms(single.check.wall))
	fmt.Fprintf(&b, "The check takes %.2f of curl's CPU time (wanted: at most %.1f; %s).\n\n", share, wantedShare, met(share <= wantedShare))
	fmt.Fprintf(&b, "| %d nodes, each every %s | CPU | memory |\n|---|---|---|\n", o.nodes, o.interval)
	fmt.Fprintf(&b, "| `iri_node_check_mode: exec`: %.0f processes a second | %.3f cores (computed from the above) | none between checks |\n", perSecond, processCores)
	fmt.Fprintf(&b, "| `iri_node_check_mode: resident`, %d checks, all passed | %.3f cores | %d MiB at most |\n\n", res.checks, res.cores, res.peak)
	fmt.Fprintf(&b, "Wanted of the resident program: at most %.2f cores (%s) and %d MiB (%s). What Consul itself spends is not in the numbers.\n",
		wantedCores, met(res.cores <= wantedCores), wantedPeak, met(res.peak <= wantedPeak))
	return b.String()
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000) }

func met(is bool) string {
	if is {
		return "met"
	}
	return "**not met**"
}

func processor() string {
	out, err := exec.Command("sh", "-c", "grep -m 1 'model name' /proc/cpuinfo | sed 's/.*: //'").Output()
	if name := strings.TrimSpace(string(out)); err == nil && name != "" {
		return name
	}
	return runtime.GOARCH
}

func curlVersion() string {
	out, err := exec.Command("curl", "--version").Output()
	if fields := strings.Fields(string(out)); err == nil && len(fields) > 1 {
		return "curl " + fields[1]
	}
	return "curl"
}
