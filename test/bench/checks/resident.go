package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// readyTimeout limits how long the resident program may take to start.
const readyTimeout = 5 * time.Second

// resident is what a program costs that stays.
type resident struct {
	cores  float64 // CPU time per wall time
	peak   int     // MiB, including the warm-up
	checks int
}

// measureResident sends the checks to the resident program as Consul does: each node once per interval, evenly
// spread, each check over a connection of its own.
func measureResident(ctx context.Context, o options, urls []string) (resident, error) {
	registry := httptest.NewServer(consul("bench", urls, o.interval))
	defer registry.CloseClientConnections()
	address, err := freeAddress(ctx)
	if err != nil {
		return resident{}, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(o.bin, "iri-node-check"), "serve", "--listen", address, "--consul", registry.URL, "--log-level", "warn")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return resident{}, err
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if err := waitFor(ctx, "http://"+address+"/readyz"); err != nil {
		return resident{}, err
	}
	var failures atomic.Int64
	checks := sendChecks(ctx, address, urls, o.interval, o.interval, &failures) // warm-up: connections are opened
	before, err := cpuOf(cmd.Process.Pid)
	if err != nil {
		return resident{}, err
	}
	start := time.Now()
	checks += sendChecks(ctx, address, urls, o.interval, o.run, &failures)
	took := time.Since(start)
	after, err := cpuOf(cmd.Process.Pid)
	if err != nil {
		return resident{}, err
	}
	peak, err := peakOf(cmd.Process.Pid)
	if failures.Load() > 0 {
		err = fmt.Errorf("%d of %d checks did not pass", failures.Load(), checks)
	}
	return resident{cores: (after - before).Seconds() / took.Seconds(), peak: peak, checks: checks}, err
}

// sendChecks sends checks of one node after the other for the given time and returns their number. It counts the
// failures.
func sendChecks(ctx context.Context, address string, urls []string, interval, total time.Duration, failures *atomic.Int64) int {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	ticker := time.NewTicker(interval / time.Duration(len(urls)))
	defer ticker.Stop()
	var group sync.WaitGroup
	count, over := 0, time.After(total)
	for {
		select {
		case <-ctx.Done():
			return count
		case <-over:
			group.Wait()
			return count
		case <-ticker.C:
		}
		node := urls[count%len(urls)]
		count++
		group.Go(func() {
			if get(ctx, client, "http://"+address+"/check?skip-limited=true&address="+node) != nil {
				failures.Add(1)
			}
		})
	}
}

func get(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return err
}

func waitFor(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := get(ctx, http.DefaultClient, url)
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("the resident program is not ready after %s: %w", readyTimeout, err)
		}
	}
}

func freeAddress(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// cpuOf is the CPU time that a running process has used, according to proc(5), in steps of 10 ms.
func cpuOf(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if !found || len(fields) < 13 {
		return 0, errors.New("unexpected format of /proc/PID/stat")
	}
	user, errUser := strconv.Atoi(fields[11])
	system, errSystem := strconv.Atoi(fields[12])
	const ticks = 100 // USER_HZ, the same on all Linux architectures
	return time.Duration(user+system) * time.Second / ticks, errors.Join(errUser, errSystem)
}

// peakOf is the peak resident set size in MiB, rounded up.
func peakOf(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, "VmHWM:"); found {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			return (kib + 1023) / 1024, err
		}
	}
	return 0, syscall.ENODATA
}
