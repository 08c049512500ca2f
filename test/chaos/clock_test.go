//go:build integration

package chaos

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

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// wallJumps is added to the package time that the handler is built with. A program without the C library cannot be given
// another clock from outside, so it gets one from inside: the wall clock jumps an hour ahead, then two hours back, and
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
func jumpingClock(t *testing.T, b *bed) {
	buildWithJumps(t)
	b.Daemon.Stop(syscall.SIGTERM)
	b.Daemon = harness.StartProgram(t, "iri-lb-handler-jumps", "run", "--config", b.ConfigFile)
	for _, ahead := range []time.Duration{time.Hour, -time.Hour, 0} {
		harness.Eventually(t, 15*time.Second, fmt.Sprintf("the clock is off by %s", ahead), func() error {
			b.touch(t)
			if off := b.clockIsOff(t); (off - ahead).Abs() > 10*time.Second {
				return fmt.Errorf("by %s", off)
			}
			return nil
		})
		b.churn(t, 4*time.Second)
		code, text := b.Get(t, "/healthz")
		assert.Equal(t, 200, code, text)
		code, text = b.Get(t, "/readyz")
		assert.Equal(t, 200, code, text)
	}
}

var lastSuccess = regexp.MustCompile(`(?m)^iri_lb_handler_last_success_timestamp_seconds\{.*\} (\S+)$`)

// clockIsOff compares the time of the handler's last success with this program's clock.
func (b *bed) clockIsOff(t *testing.T) time.Duration {
	t.Helper()
	_, metrics := b.Get(t, "/metrics")
	found := lastSuccess.FindStringSubmatch(metrics)
	if found == nil {
		return 24 * time.Hour
	}
	seconds, err := strconv.ParseFloat(found[1], 64)
	require.NoError(t, err)
	return time.Duration((seconds - float64(time.Now().Unix())) * float64(time.Second))
}

// buildWithJumps builds the handler with a copy of Go's package time that has wallJumps.
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
	harness.BuildStatic(t, "./src/cmd/iri-lb-handler", "iri-lb-handler-jumps", "-overlay", dir+"/overlay.json")
}
