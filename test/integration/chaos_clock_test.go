//go:build integration && chaos

package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// wallJumps is added to the package time of the handler's Go. A program that needs
// no C library cannot be given another clock from outside, so it gets one from
// inside: what the wall clock says jumps an hour ahead, then two hours back, and
// then an hour ahead. The monotonic clock goes on, as it does in Linux.
const wallJumps = `

func wallJump(mono int64) int64 {
	switch s := (mono - startNano) / 1e9; {
	case 6 <= s && s < 14:
		return 3600
	case 14 <= s && s < 22:
		return -3600
	}
	return 0
}
`

// jumpingClock replaces the handler by one whose clock jumps.
func jumpingClock(t *testing.T, b *chaosBed) {
	buildWithJumps(t)
	b.daemon.stop(syscall.SIGTERM)
	b.daemon = start(t, "iri-lb-handler-jumps", "run", "--config", b.config)
	for _, ahead := range []time.Duration{time.Hour, -time.Hour, 0} {
		eventually(t, 15*time.Second, fmt.Sprintf("the clock is off by %s", ahead), func() error {
			b.toggle(t)
			if off := b.clockIsOff(t); (off - ahead).Abs() > 10*time.Second {
				return fmt.Errorf("by %s", off)
			}
			return nil
		})
		b.churn(t, 4*time.Second)
		code, text := b.get(t, "/healthz")
		assert.Equal(t, 200, code, text)
		code, text = b.get(t, "/readyz")
		assert.Equal(t, 200, code, text)
	}
}

var lastSuccess = regexp.MustCompile(`(?m)^iri_lb_handler_last_success_timestamp_seconds\{.*\} (\S+)$`)

// clockIsOff compares the time of the handler's last success with this program's
// clock.
func (b *chaosBed) clockIsOff(t *testing.T) time.Duration {
	t.Helper()
	_, metrics := b.get(t, "/metrics")
	found := lastSuccess.FindStringSubmatch(metrics)
	if found == nil {
		return 24 * time.Hour
	}
	seconds, err := strconv.ParseFloat(found[1], 64)
	require.NoError(t, err)
	return time.Duration((seconds - float64(time.Now().Unix())) * float64(time.Second))
}

func buildWithJumps(t *testing.T) {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	require.NoError(t, err)
	original := filepath.Join(strings.TrimSpace(string(root)), "src/time/time.go")
	text, err := os.ReadFile(original)
	require.NoError(t, err)
	const reads = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	require.Contains(t, string(text), reads, "Go's package time has changed: adapt this test")
	changed := strings.Replace(string(text), reads, reads+"\tsec += wallJump(mono)\n", 1) + wallJumps
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/time.go", []byte(changed), 0o600))
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {original: dir + "/time.go"}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(dir+"/overlay.json", overlay, 0o600))
	build := exec.Command("go", "build", "-overlay", dir+"/overlay.json", "-o", filepath.Join(bin, "iri-lb-handler-jumps"), "../../src/cmd/iri-lb-handler")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
