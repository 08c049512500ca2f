package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// cost is the CPU and wall time of one run of a program.
type cost struct{ cpu, wall time.Duration }

type processes struct{ curl, check cost }

// measureProcesses runs curl and the check alternately, so that both are affected equally by other load.
func measureProcesses(ctx context.Context, o options, node string) (processes, error) {
	curl := []string{
		"curl", "--silent", "--max-time", "3", "--header", "X-IOTA-API-Version: 1", "--header", "Content-Type: application/json",
		"--data", `{"command":"getNodeInfo"}`, node,
	}
	check := []string{filepath.Join(o.bin, "iri-node-check"), "-a", node, "-i"}
	var curls, checks []cost
	for range o.runs {
		for _, program := range []struct {
			argv  []string
			costs *[]cost
		}{{curl, &curls}, {check, &checks}} {
			c, err := runOnce(ctx, program.argv)
			if err != nil {
				return processes{}, err
			}
			*program.costs = append(*program.costs, c)
		}
	}
	return processes{summarise(curls), summarise(checks)}, nil
}

func runOnce(ctx context.Context, argv []string) (cost, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	start := time.Now()
	out, err := cmd.Output()
	wall := time.Since(start)
	if err != nil || len(out) == 0 {
		return cost{}, fmt.Errorf("%s: %w (%s)", argv[0], err, out)
	}
	return cost{cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), wall}, nil
}

// summarise returns the mean CPU time, because the kernel counts it in coarse steps, and the median wall time,
// because other processes cause outliers.
func summarise(costs []cost) cost {
	var sum time.Duration
	walls := make([]time.Duration, len(costs))
	for i, c := range costs {
		sum += c.cpu
		walls[i] = c.wall
	}
	slices.Sort(walls)
	return cost{sum / time.Duration(len(costs)), walls[len(walls)/2]}
}
