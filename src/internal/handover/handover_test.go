package handover

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeDocker puts a docker into the PATH that writes its arguments to a file, and answers as the script says.
func fakeDocker(t *testing.T, script string) (calls func() string) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "calls")
	text := fmt.Sprintf("#!/bin/sh\necho \"$*\" >> %s\ncase \"$*\" in\n%s\nesac\n", log, script)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "docker"), []byte(text), 0o700))
	// As systemd-cat, for a machine without it.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "systemd-cat"), []byte("#!/bin/sh\nshift 2\nexec \"$@\"\n"), 0o700))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() string {
		all, err := os.ReadFile(log)
		require.NoError(t, err)
		return string(all)
	}
}

const digest = "--label=iri-lb-haproxy.command=abc"

func TestAnotherContainerIsNeededWhenCommandOrImageHaveChanged(t *testing.T) {
	for name, test := range map[string]struct {
		running, image string
		needed         bool
	}{
		"the same":                            {"sha256:1,haproxy:3.0,abc", "echo sha256:1", false},
		"another command":                     {"sha256:1,haproxy:3.0,old", "echo sha256:1", true},
		"started by an older version":         {"sha256:1,haproxy:3.0,", "echo sha256:1", true},
		"the name has another image":          {"sha256:1,haproxy:3.0,abc", "echo sha256:2", true},
		"the name of what runs is taken away": {"sha256:1,haproxy:3.0,abc", "exit 1", false},
	} {
		t.Run(name, func(t *testing.T) {
			fakeDocker(t, "container*) echo '"+test.running+"' ;;\nimage*haproxy:3.0) "+test.image+" ;;")
			needed, err := (&Handover{Command: []string{"docker", "run", digest}}).Needed(t.Context())
			require.NoError(t, err)
			assert.Equal(t, test.needed, needed)
		})
	}
}

func TestWithoutAContainerNothingIsReplaced(t *testing.T) {
	fakeDocker(t, "container*) echo 'No such container: haproxy' >&2; exit 1 ;;")
	_, err := (&Handover{}).Needed(t.Context())
	assert.ErrorContains(t, err, "No such container: haproxy")
	fakeDocker(t, "container*) echo nonsense ;;")
	_, err = (&Handover{}).Needed(t.Context())
	assert.ErrorContains(t, err, `unexpected answer "nonsense"`)
}

func TestOnlyTheUnitMayReplaceTheContainer(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	assert.ErrorContains(t, (&Handover{}).Begin(t.Context()), "use systemctl reload haproxy")
}

// fakeSystemd is where the new process is announced.
func fakeSystemd(t *testing.T) *net.UnixConn {
	t.Helper()
	address := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	t.Setenv("NOTIFY_SOCKET", address)
	return l
}

// newHandover has sockets that exist, and a command that runs docker.
func newHandover(t *testing.T) *Handover {
	t.Helper()
	dir := t.TempDir()
	h := &Handover{Command: []string{"docker", "run"}, AdminSocket: filepath.Join(dir, "admin.sock"), MasterSocket: filepath.Join(dir, "master.sock")}
	for _, s := range h.sockets() {
		require.NoError(t, os.WriteFile(s, []byte("old"), 0o600))
	}
	return h
}

func (h *Handover) assertSocketsAreTheOldOnes(t *testing.T) {
	t.Helper()
	for _, s := range h.sockets() {
		text, err := os.ReadFile(s)
		require.NoError(t, err)
		assert.Equal(t, "old", string(text))
		assert.NoFileExists(t, kept(s))
	}
}

// master is a process with a child, as HAProxy's with its worker: this one.
func master(t *testing.T) int {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	worker := exec.CommandContext(ctx, "sleep", "60")
	require.NoError(t, worker.Start())
	t.Cleanup(func() { cancel(); _ = worker.Wait() })
	return os.Getpid()
}

const inspectOld = "container*Id*) echo 0123456789abcdef ;;\n"

func TestANewContainerThatEndsAtOnceChangesNothing(t *testing.T) {
	fakeSystemd(t)
	h := newHandover(t)
	calls := fakeDocker(t, inspectOld+"run*) exit 1 ;;\ncontainer*Pid*) exit 1 ;;")
	require.ErrorContains(t, h.Begin(t.Context()), "the new container ended at once; its messages are in journalctl -u haproxy -e")
	h.assertSocketsAreTheOldOnes(t)
	assert.Contains(t, calls(), "container rename haproxy haproxy-0123456789ab\n")
	assert.Contains(t, calls(), "run -x "+h.AdminSocket+"\n")
	assert.True(t, strings.HasSuffix(calls(), "container rm --force haproxy\ncontainer rename 0123456789abcdef haproxy\n"), calls())
}

func TestANewContainerThatDoesNotStartIsGivenUp(t *testing.T) {
	fakeSystemd(t)
	h := newHandover(t)
	fakeDocker(t, inspectOld+"run*) exec sleep 5 ;;\ncontainer*Pid*) echo 0 ;;")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, h.Begin(ctx), "the new container did not start in time")
	h.assertSocketsAreTheOldOnes(t)
}

func TestTheOldContainerEndsWhenTheNewOneIsAnnounced(t *testing.T) {
	systemd := fakeSystemd(t)
	h := newHandover(t)
	calls := fakeDocker(t, inspectOld+fmt.Sprintf("run*) exec sleep 5 ;;\ncontainer*Pid*) echo %d ;;", master(t)))
	require.NoError(t, h.Begin(t.Context()))
	require.NoError(t, h.End(t.Context(), nil))
	said := make([]byte, 100)
	require.NoError(t, systemd.SetReadDeadline(time.Now().Add(5*time.Second)))
	n, err := systemd.Read(said)
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprintf("MAINPID=%d", h.main), string(said[:n]))
	assert.True(t, strings.HasSuffix(calls(), "container kill --signal USR1 0123456789abcdef\n"), calls())
	for _, s := range h.sockets() {
		assert.NoFileExists(t, kept(s))
	}
}

func TestWhatFailsAfterTheStartBringsTheOldContainerBack(t *testing.T) {
	fakeSystemd(t)
	h := newHandover(t)
	calls := fakeDocker(t, inspectOld+fmt.Sprintf("run*) exec sleep 5 ;;\ncontainer*Pid*) echo %d ;;", master(t)))
	require.NoError(t, h.Begin(t.Context()))
	replacement := h.MasterSocket + ".tmp"
	require.NoError(t, os.WriteFile(replacement, []byte("new"), 0o600))
	require.NoError(t, os.Rename(replacement, h.MasterSocket), "as a new master does")
	require.ErrorContains(t, h.End(t.Context(), os.ErrDeadlineExceeded), "i/o timeout")
	h.assertSocketsAreTheOldOnes(t)
	assert.NotContains(t, calls(), "USR1")
	assert.Contains(t, calls(), "container rename 0123456789abcdef haproxy\n")
}
