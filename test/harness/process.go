package harness

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Process is a program that runs beside the test.
type Process struct {
	cmd *exec.Cmd
	log lockedBuffer
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

// StartProgram runs a program under test until the test ends.
func StartProgram(t *testing.T, program string, args ...string) *Process {
	t.Helper()
	return StartCommand(t, Program(program), args...)
}

// StartCommand runs any command until the test ends.
func StartCommand(t *testing.T, path string, args ...string) *Process {
	t.Helper()
	p := &Process{cmd: exec.Command(path, args...)}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		p.Stop(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("%s:\n%s", path, p.Log())
		}
	})
	return p
}

// Stop sends the signal, unless the process has ended, and waits for its end.
func (p *Process) Stop(sig syscall.Signal) {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Signal(sig)
		_ = p.cmd.Wait()
	}
}

// Signal sends a signal and does not wait.
func (p *Process) Signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(sig))
}

// Wait waits until the process ends by itself.
func (p *Process) Wait() error { return p.cmd.Wait() }

// PID is the process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log is what the process has written so far.
func (p *Process) Log() string { return p.log.String() }

// RunProgram runs a program under test to its end and returns its exit code and output.
func RunProgram(t *testing.T, program string, args ...string) (int, string) {
	t.Helper()
	cmd := exec.Command(Program(program), args...)
	// The race detector would sleep for a second at the end of a program.
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatalf("run %s: %v", program, err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// CountLines counts the lines that have all of the parts.
func CountLines(text string, parts ...string) int {
	n := 0
lines:
	for line := range strings.Lines(text) {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue lines
			}
		}
		n++
	}
	return n
}
