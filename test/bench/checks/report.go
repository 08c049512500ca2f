package main

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// The targets: CPU time relative to curl, CPU cores, and MiB of memory.
const (
	targetShare = 0.6
	targetCores = 0.05
	targetPeak  = 40
)

// report is the text between the marks of docs/performance.md.
func report(o options, single processes, res, handler resident) string {
	share := float64(single.check.cpu) / float64(single.curl.cpu)
	perSecond := float64(o.nodes) / o.interval.Seconds()
	processCores := single.check.cpu.Seconds() * perSecond
	var b strings.Builder
	fmt.Fprintf(&b, "Measured by `make bench-check` on %s at %s: %s, %d CPUs, %s. The nodes are fake nodes on the same machine, over HTTP.\n\n",
		time.Now().UTC().Format(time.DateOnly), harness.Revision(), harness.ProcField("/proc/cpuinfo", "model name"), runtime.NumCPU(), curlVersion())
	fmt.Fprintf(&b, "| one check of one node, mean of %d alternating runs | CPU | wall (median) |\n|---|---|---|\n", o.runs)
	fmt.Fprintf(&b, "| `curl` with the same request | %s | %s |\n", ms(single.curl.cpu), ms(single.curl.wall))
	fmt.Fprintf(&b, "| `iri-node-check -a … -i` | %s | %s |\n\n", ms(single.check.cpu), ms(single.check.wall))
	fmt.Fprintf(&b, "The check takes %.2f times the CPU time of curl (target: at most %.1f; %s).\n\n", share, targetShare, met(share <= targetShare))
	fmt.Fprintf(&b, "| %d nodes, each checked every %s | CPU | memory |\n|---|---|---|\n", o.nodes, o.interval)
	fmt.Fprintf(&b, "| `iri_node_check_mode: exec`: %.0f processes per second | %.3f cores (computed from the above) | none between checks |\n", perSecond, processCores)
	fmt.Fprintf(&b, "| `iri_node_check_mode: resident`, %d checks, all passing | %.3f cores | at most %d MiB |\n", res.checks, res.cores, res.peak)
	fmt.Fprintf(&b, "| nodes in the catalog, by the handler of each load balancer, %d checks, all passing | %.3f cores | at most %d MiB, all of the handler |\n\n",
		handler.checks, handler.cores, handler.peak)
	fmt.Fprintf(&b, "Targets for the resident program: at most %.2f cores (%s) and %d MiB (%s); for the handler: at most %.2f cores (%s). "+
		"The CPU time of Consul itself is not included.\n", targetCores, met(res.cores <= targetCores), targetPeak, met(res.peak <= targetPeak),
		targetCores, met(handler.cores <= targetCores))
	return b.String()
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000) }

func met(is bool) string {
	if is {
		return "met"
	}
	return "**not met**"
}

func curlVersion() string {
	if fields := strings.Fields(harness.Output("curl", "--version")); len(fields) > 1 {
		return "curl " + fields[1]
	}
	return "curl"
}
