package harness

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ory/dockertest/v3"
	dc "github.com/ory/dockertest/v3/docker"
	"github.com/stretchr/testify/require"
)

// HAProxyImage is what HAPROXY_IMAGE says, or the default.
func HAProxyImage() string { return imageOf("HAPROXY_IMAGE", "haproxy:3.0") }

// ConsulImage is what CONSUL_IMAGE says, or the default.
func ConsulImage() string { return imageOf("CONSUL_IMAGE", "hashicorp/consul:1.22.0") }

func imageOf(variable, fallback string) string {
	if v := os.Getenv(variable); v != "" {
		return v
	}
	return fallback
}

// Container is one that a test has started. It is removed when the test ends.
type Container struct{ resource *dockertest.Resource }

// StartContainer runs a container as root in the host's network.
func StartContainer(t *testing.T, image, entrypoint string, args []string, mounts ...string) *Container {
	t.Helper()
	repository, tag, _ := strings.Cut(image, ":")
	r, err := Docker.RunWithOptions(&dockertest.RunOptions{
		Repository: repository, Tag: tag, Entrypoint: []string{entrypoint}, Cmd: args, Mounts: mounts, User: "0",
	}, func(h *dc.HostConfig) {
		h.RestartPolicy = dc.NeverRestart()
		h.NetworkMode = "host"
	})
	require.NoError(t, err, "start %s", image)
	c := &Container{resource: r}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s:\n%s", image, c.lastLines("40"))
		}
		c.Remove()
	})
	return c
}

// ID is the container's ID.
func (c *Container) ID() string { return c.resource.Container.ID }

// Remove ends and removes the container before its test ends.
func (c *Container) Remove() { _ = Docker.Purge(c.resource) }

// Kill ends the container's processes at once.
func (c *Container) Kill(t *testing.T) {
	t.Helper()
	c.Signal(t, dc.SIGKILL)
}

// Signal sends a signal to the container's first process.
func (c *Container) Signal(t *testing.T, signal dc.Signal) {
	t.Helper()
	require.NoError(t, Docker.Client.KillContainer(dc.KillContainerOptions{ID: c.ID(), Signal: signal}))
}

// Stop ends the container in order.
func (c *Container) Stop(t *testing.T) {
	t.Helper()
	require.NoError(t, Docker.Client.StopContainer(c.ID(), 10))
}

// Running says whether the container's first process is there.
func (c *Container) Running(t *testing.T) bool {
	t.Helper()
	return c.inspect(t).State.Running
}

// WaitStopped waits until Docker has seen the container's end.
func (c *Container) WaitStopped(t *testing.T) {
	t.Helper()
	Eventually(t, 10*time.Second, "the container has ended", func() error {
		if c.Running(t) {
			return errStillRunning
		}
		return nil
	})
}

// StartAgain starts a container that has ended. Docker may need a moment to notice the end.
func (c *Container) StartAgain(t *testing.T) {
	t.Helper()
	Eventually(t, 20*time.Second, "the container starts again", func() error { return Docker.Client.StartContainer(c.ID(), nil) })
}

// PID is the process ID, on the host, of the container's first process.
func (c *Container) PID(t *testing.T) int {
	t.Helper()
	return c.inspect(t).State.Pid
}

func (c *Container) inspect(t *testing.T) *dc.Container {
	t.Helper()
	found, err := Docker.Client.InspectContainer(c.ID())
	require.NoError(t, err)
	return found
}

// Exec runs a shell command in the container.
func (c *Container) Exec(t *testing.T, command string) {
	t.Helper()
	out, err := exec.Command("docker", "exec", c.ID(), "sh", "-c", command).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// Wait waits for the container's end and returns its exit code.
func (c *Container) Wait(t *testing.T) int {
	t.Helper()
	code, err := Docker.Client.WaitContainer(c.ID())
	require.NoError(t, err)
	return code
}

// Logs is all that the container has written so far.
func (c *Container) Logs(t *testing.T) string {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, Docker.Client.Logs(dc.LogsOptions{
		Container: c.ID(), OutputStream: &out, ErrorStream: &out, Stdout: true, Stderr: true,
	}))
	return out.String()
}

// LogsSince is what the container has written since then. Each line begins with its time, as in time.RFC3339Nano.
func (c *Container) LogsSince(t *testing.T, since time.Time) string {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, Docker.Client.Logs(dc.LogsOptions{
		Container: c.ID(), OutputStream: &out, ErrorStream: &out, Stdout: true, Stderr: true, Timestamps: true, Since: since.Unix(),
	}))
	return out.String()
}

func (c *Container) lastLines(n string) string {
	var out bytes.Buffer
	_ = Docker.Client.Logs(dc.LogsOptions{Container: c.ID(), OutputStream: &out, ErrorStream: &out, Stdout: true, Stderr: true, Tail: n})
	return out.String()
}
