package harness

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// DescribeMachine says, as lines of a list, where and with what a measurement is made.
func DescribeMachine(t *testing.T, command string, more ...string) string {
	t.Helper()
	lines := []string{
		"date: " + time.Now().UTC().Format("2006-01-02 15:04 UTC"),
		fmt.Sprintf("this project: %s, built with %s", Revision(), runtime.Version()),
		fmt.Sprintf("Consul: `%s`, HAProxy: `%s` (%s)", ConsulImage(), HAProxyImage(), haproxyVersion(t)),
	}
	lines = append(lines, more...)
	lines = append(lines,
		fmt.Sprintf("machine: %d cores, %s, %s", runtime.NumCPU(), ProcField("/proc/cpuinfo", "model name"), Output("uname", "-sr")),
		"load average at the start: "+loadAverage(),
		"command: `"+command+"`",
	)
	return "- " + strings.Join(lines, "\n- ") + "\n"
}

func haproxyVersion(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("docker", "run", "--rm", "--entrypoint", "haproxy", HAProxyImage(), "-v").Output()
	require.NoError(t, err)
	words := strings.Fields(string(out)) // "HAProxy version 3.0.11-1 2025/…"
	require.Greater(t, len(words), 2, "%s", out)
	return words[2]
}

// Output is what a command prints, "unknown" when it fails.
func Output(program string, args ...string) string {
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// ProcField is the value of a "name: value" line of a file in /proc, "unknown" when there is none.
func ProcField(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for row := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(row, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

// CPUTime is utime and stime of /proc/PID/stat (proc(5)), in ticks of 10 ms.
func CPUTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	// The second field, the name, may have spaces in it.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var ticks int
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		require.NoError(t, err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// Memory is a field of /proc/PID/status in KiB, such as VmRSS; 0 when the process has ended.
func Memory(pid int, name string) int {
	var kib int
	_, _ = fmt.Sscan(ProcField(fmt.Sprintf("/proc/%d/status", pid), name), &kib)
	return kib
}
