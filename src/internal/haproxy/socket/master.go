package socket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"
)

// reloadTimeout is how long the master may take to start a new worker: a configuration of thousands of TLS slots takes
// seconds.
const reloadTimeout = 60 * time.Second

// Reload asks the master process at path for a reload and waits for its verdict: "Success=1", or "Success=0" and the log
// of the failure. HAProxy keeps its old worker when the new configuration is bad. Versions before 2.7 give no verdict, and
// Reload returns nil: whether a new worker appears is then the only sign.
func Reload(ctx context.Context, path string) error {
	nc, err := dialMaster(ctx, path)
	if err != nil {
		return fmt.Errorf("connect to HAProxy's master: %w", err)
	}
	defer func() { _ = nc.Close() }()
	until := time.Now().Add(reloadTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(until) {
		until = d
	}
	if err := nc.SetDeadline(until); err != nil {
		return err
	}
	if _, err := io.WriteString(nc, "reload\n"); err != nil {
		return fmt.Errorf("ask HAProxy's master for a reload: %w", err)
	}
	answer, err := io.ReadAll(nc)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		return fmt.Errorf("read the master's answer to the reload: %w", err)
	}
	return reloadVerdict(string(answer))
}

// dialMaster retries for a while when nobody listens yet: after a start the worker answers some milliseconds before its
// master does.
func dialMaster(ctx context.Context, path string) (net.Conn, error) {
	for until := time.Now().Add(answerTimeout); ; {
		nc, err := (&net.Dialer{Timeout: answerTimeout}).DialContext(ctx, "unix", path)
		if !errors.Is(err, syscall.ECONNREFUSED) || time.Now().After(until) {
			return nc, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func reloadVerdict(answer string) error {
	status, log, _ := strings.Cut(answer, "\n")
	switch strings.TrimSpace(status) {
	case "Success=1", "":
		return nil
	case "Success=0":
		log = strings.TrimSpace(strings.TrimPrefix(log, "--\n"))
		return fmt.Errorf("HAProxy refused the new configuration and keeps the old one:\n%s", log)
	}
	return fmt.Errorf("HAProxy's master answered %q to the reload", strings.TrimSpace(answer))
}
