// Package handover replaces HAProxy's container by one with another image or command line, without losing a request.
//
// The new HAProxy gets the listening sockets of the old one through its admin socket (HAProxy's option -x; the sockets need
// `expose-fd listeners`). Both accept connections until the old one is told to finish its requests and end. HAProxy's own way
// to end the old process, -sf, does not reach into another container.
package handover

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/ports"
)

const (
	// container is what the unit calls the container. One that is about to end has its ID in its name as well.
	container = "haproxy"
	// label has a digest of the command line that a container was started with.
	label = "iri-lb-haproxy.command"
	// poll is how often the new container is looked at.
	poll = 50 * time.Millisecond
	// undoTimeout bounds the way back, which is gone also when there is no time left for anything else.
	undoTimeout = 20 * time.Second
)

// Handover is one replacement.
type Handover struct {
	// Command starts HAProxy's container, and ends with HAProxy's own arguments. It is what the unit starts.
	Command []string
	// AdminSocket and MasterSocket are HAProxy's.
	AdminSocket, MasterSocket string

	old  string // the ID of the old container
	main int    // the process that systemd is to watch
}

// Needed reports whether the running container has another command line than the unit, or its image's name now stands for
// another image.
func (h *Handover) Needed(ctx context.Context) (bool, error) {
	format := `{{.Image}},{{.Config.Image}},{{index .Config.Labels "` + label + `"}}`
	running, err := docker(ctx, "container", "inspect", "--format", format, container)
	if err != nil {
		return false, err
	}
	parts := strings.Split(running, ",")
	if len(parts) != 3 {
		return false, fmt.Errorf("docker container inspect %s: unexpected answer %q", container, running)
	}
	if !slices.Contains(h.Command, "--label="+label+"="+parts[2]) {
		return true, nil
	}
	image, err := docker(ctx, "image", "inspect", "--format", "{{.Id}}", parts[1])
	if err != nil {
		return false, nil // what runs has lost its name, so there is nothing newer of that name
	}
	return image != parts[0], nil
}

// Begin starts the new container, and returns once its HAProxy runs. After an error everything is as it was.
func (h *Handover) Begin(ctx context.Context) error {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return errors.New("HAProxy's container has to be replaced, which only its unit can do: use systemctl reload haproxy")
	}
	err := h.begin(ctx)
	if err != nil {
		return errors.Join(err, h.undo(ctx))
	}
	return nil
}

func (h *Handover) begin(ctx context.Context) error {
	id, err := docker(ctx, "container", "inspect", "--format", "{{.Id}}", container)
	if err != nil {
		return err
	}
	if _, err := docker(ctx, "container", "rename", container, container+"-"+id[:12]); err != nil {
		return err
	}
	h.old = id
	// The new master takes the name of the old one's socket away.
	for _, s := range h.sockets() {
		if err := link(s, kept(s)); err != nil {
			return fmt.Errorf("keep HAProxy's socket: %w", err)
		}
	}
	if h.main, err = h.start(ctx); err != nil {
		return fmt.Errorf("start the new container: %w", err)
	}
	return h.awaitWorker(ctx)
}

// start returns the process of the docker client. It becomes a child of systemd, which so learns of its end. systemd-cat gives
// what HAProxy prints the name in the journal that it has after a start.
func (h *Handover) start(ctx context.Context) (pid int, err error) {
	args := append([]string{"-c", `systemd-cat --identifier docker "$@" </dev/null >/dev/null 2>&1 & echo $!`, "sh"}, h.Command...)
	cmd := exec.CommandContext(ctx, "sh", append(args, "-x", h.AdminSocket)...)
	out, err := cmd.Output()
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(out)))
}

// awaitWorker waits until the new master has started a worker: it has read the configuration and has its sockets then.
func (h *Handover) awaitWorker(ctx context.Context) error {
	for {
		pid, err := masterOf(ctx, container)
		if err == nil && len(ports.Children(pid)) > 0 {
			return nil
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", h.main)); err != nil {
			return errors.New("the new container ended at once; its messages are in journalctl -u haproxy -e")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the new container did not start in time: %w", ctx.Err())
		case <-time.After(poll):
		}
	}
}

// End ends the old container, or the new one if something failed since Begin. systemd learns which of them to watch.
func (h *Handover) End(ctx context.Context, failed error) error {
	if failed == nil {
		failed = h.compare(ctx)
	}
	if failed != nil {
		return errors.Join(failed, h.undo(ctx))
	}
	if _, err := systemd.SdNotify(false, "MAINPID="+strconv.Itoa(h.main)); err != nil {
		return errors.Join(fmt.Errorf("tell systemd of the new container: %w", err), h.undo(ctx))
	}
	_, err := docker(ctx, "container", "kill", "--signal", "USR1", h.old)
	for _, s := range h.sockets() {
		_ = os.Remove(kept(s))
	}
	return err
}

// compare makes sure that the new HAProxy has got the sockets: if it has not, it goes on with sockets of its own, and the
// connections that wait in the old ones would be lost (HAProxy only warns of it).
func (h *Handover) compare(ctx context.Context) error {
	before, err := masterOf(ctx, h.old)
	if err != nil {
		return err
	}
	now, err := masterOf(ctx, container)
	if err != nil {
		return err
	}
	both, err := ports.ListenedTwice(before, now)
	switch {
	case err != nil:
		return err
	case len(both) > 0:
		return fmt.Errorf("the new HAProxy has not got the sockets of the old one (%s)", strings.Join(both, ", "))
	}
	return nil
}

// undo removes the new container and gives the old one its name and its sockets back.
func (h *Handover) undo(ctx context.Context) error {
	if h.old == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	_, _ = docker(ctx, "container", "rm", "--force", container) // there may be none
	var errs []error
	for _, s := range h.sockets() {
		if err := os.Rename(kept(s), s); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
		_ = os.Remove(kept(s)) // a second name of the same file is not renamed
	}
	_, err := docker(ctx, "container", "rename", h.old, container)
	if err = errors.Join(append(errs, err)...); err != nil {
		return fmt.Errorf("go back to the old container: %w (systemctl restart haproxy mends it)", err)
	}
	return nil
}

func (h *Handover) sockets() []string { return []string{h.AdminSocket, h.MasterSocket} }

func kept(socket string) string { return socket + ".old" }

// link gives a file a second name, whatever had it.
func link(file, name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Link(file, name)
}

// masterOf is the first process of a container.
func masterOf(ctx context.Context, name string) (int, error) {
	out, err := docker(ctx, "container", "inspect", "--format", "{{.State.Pid}}", name)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(out)
	if err != nil || pid == 0 {
		return 0, fmt.Errorf("the container %s does not run", name)
	}
	return pid, nil
}

// docker returns what the command prints.
func docker(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "docker", args...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = errors.New(strings.TrimSpace(string(exit.Stderr)))
	}
	if err != nil {
		return "", fmt.Errorf("docker %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
