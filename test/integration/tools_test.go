//go:build integration

package integration

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// eventually polls until the condition holds, and fails with its last reason.
func eventually(t *testing.T, within time.Duration, what string, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s: %v", within, what, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func countLines(text, part string) int {
	n := 0
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}

// freePorts are below those that the system gives to clients: a server that is
// killed and started again finds its port free.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for len(ports) < n {
		port := 20000 + rand.IntN(12000)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			defer func() { _ = l.Close() }()
			ports = append(ports, port)
		}
	}
	return ports
}

// process is a program under test.
type process struct {
	cmd *exec.Cmd
	log *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t *testing.T, program string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(filepath.Join(bin, program), args...), log: &lockedBuffer{}}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		p.stop(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("%s:\n%s", program, p.log)
		}
	})
	return p
}

func (p *process) stop(sig syscall.Signal) {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Signal(sig)
		_ = p.cmd.Wait()
	}
}

// runProgram runs a program to its end and returns its exit code and output.
func runProgram(t *testing.T, program string, args ...string) (int, string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, program), args...)
	// The race detector would sleep for a second at the end of a program.
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatalf("run %s: %v", program, err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

const nodePort = 14265

// startNode runs a fake IRI node on 127.0.0.host.
func startNode(t *testing.T, host string, args ...string) {
	t.Helper()
	addr := at(host)
	start(t, "iri-fake-node", append([]string{"-listen", addr, "-name", host}, args...)...)
	eventually(t, 10*time.Second, "the fake node answers", func() error {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
}

func setNode(t *testing.T, host, state string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPut, fmt.Sprintf("http://%s:%d/_fake/state", host, nodePort), strings.NewReader(state))
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Less(t, resp.StatusCode, 300)
}

// ask sends one wallet request and returns who answered.
func ask(url, pool string) (string, error) {
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(`{"command":"getNodeInfo"}`))
	if err != nil {
		return "", err
	}
	req.Header.Set("X-IOTA-API-Version", "1")
	req.Header.Set("X-Pool", pool)
	resp, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return "", err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("HTTP %d", resp.StatusCode)
	}
	return resp.Header.Get("X-Fake-Node"), nil
}

// traffic sends requests without a pause until stopped, and counts.
type traffic struct {
	sent, failed atomic.Int64
	first        atomic.Value // the first error
	done         chan struct{}
	group        sync.WaitGroup
}

func startTraffic(t *testing.T, url string) *traffic {
	t.Helper()
	return startTrafficOf(func() error {
		_, err := ask(url, "")
		return err
	})
}

func startTrafficOf(send func() error) *traffic {
	tr := &traffic{done: make(chan struct{})}
	for range 4 {
		tr.group.Go(func() {
			for {
				select {
				case <-tr.done:
					return
				default:
				}
				if err := send(); err != nil {
					tr.first.CompareAndSwap(nil, err.Error())
					tr.failed.Add(1)
				}
				tr.sent.Add(1)
				time.Sleep(time.Millisecond)
			}
		})
	}
	return tr
}

// stop ends the traffic and requires that none of it was lost.
func (tr *traffic) stop(t *testing.T) {
	t.Helper()
	close(tr.done)
	tr.group.Wait()
	require.Positive(t, tr.sent.Load())
	require.Zerof(t, tr.failed.Load(), "of %d requests; the first failure: %v", tr.sent.Load(), tr.first.Load())
	t.Logf("%d requests, none lost", tr.sent.Load())
}
