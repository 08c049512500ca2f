package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// measureHandler has the handler check the nodes of the catalog, each once per interval. There is no HAProxy.
func measureHandler(ctx context.Context, o options, urls []string) (resident, error) {
	registry := httptest.NewServer(consul("iri-nodes", urls, o.interval))
	defer registry.CloseClientConnections()
	address, err := freeAddress(ctx)
	if err != nil {
		return resident{}, err
	}
	dir, err := os.MkdirTemp("", "bench-check")
	if err != nil {
		return resident{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("consul: {address: %q}\nhaproxy: {admin_sockets: [%q], config_file: \"\"}\nnodes_file: \"\"\nlisten: %q\nlog_level: error\n",
		registry.URL, filepath.Join(dir, "admin.sock"), address)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return resident{}, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(o.bin, "iri-lb-handler"), "run", "--config", config)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return resident{}, err
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if err := waitFor(ctx, "http://"+address+"/healthz"); err != nil {
		return resident{}, err
	}
	if err := pause(ctx, o.interval); err != nil { // warm-up: connections are opened
		return resident{}, err
	}
	return observeHandler(ctx, o, cmd.Process.Pid, "http://"+address+"/metrics")
}

func observeHandler(ctx context.Context, o options, pid int, metrics string) (resident, error) {
	first, err := countChecks(ctx, metrics)
	if err != nil {
		return resident{}, err
	}
	before, err := cpuOf(pid)
	if err != nil {
		return resident{}, err
	}
	start := time.Now()
	if err := pause(ctx, o.run); err != nil {
		return resident{}, err
	}
	after, err := cpuOf(pid)
	if err != nil {
		return resident{}, err
	}
	took := time.Since(start)
	last, err := countChecks(ctx, metrics)
	if err != nil {
		return resident{}, err
	}
	peak, err := peakOf(pid)
	return resident{cores: (after - before).Seconds() / took.Seconds(), peak: peak, checks: last - first}, err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	return ctx.Err()
}

// countChecks reads how many checks the handler has made. One that did not pass is an error.
func countChecks(ctx context.Context, metrics string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, metrics, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	passed := 0
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		verdict, value, found := strings.Cut(strings.TrimPrefix(lines.Text(), "iri_lb_handler_node_checks_total"), " ")
		if !found || !strings.HasPrefix(verdict, "{verdict=") {
			continue
		}
		count, err := strconv.Atoi(value)
		switch {
		case err != nil:
			return 0, fmt.Errorf("%s: %w", lines.Text(), err)
		case strings.Contains(verdict, "passing"):
			passed = count
		case count > 0:
			return 0, fmt.Errorf("%d checks of the handler did not pass", count)
		}
	}
	return passed, nil
}
