package preflight

import (
	"context"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/ports"
)

// services asks Docker and systemd about what is installed. What does not exist, or does not run, has no answer.
type services struct{ ctx context.Context }

func (s services) ask(command string, args ...string) string {
	out, err := exec.CommandContext(s.ctx, command, args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// processes are the first ones of all services that run.
func (s services) processes(req Request) (pids []int) {
	var answers []string
	for _, name := range req.Containers {
		answers = append(answers, s.ask("docker", "container", "inspect", "--format", "{{.State.Pid}}", name))
	}
	for _, unit := range req.Units {
		answers = append(answers, s.ask("systemctl", "show", "--property", "MainPID", "--value", unit))
	}
	for _, answer := range answers {
		if pid, err := strconv.Atoi(answer); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// without leaves out the ports that systemd itself holds for one of the units, a socket.
func (s services) without(wanted []ports.Port, units []string) []ports.Port {
	var held []string
	for _, unit := range units {
		if strings.HasSuffix(unit, ".socket") && s.ask("systemctl", "is-active", unit) == "active" {
			// "127.0.0.1:9295 (Stream)"
			held = append(held, strings.Fields(s.ask("systemctl", "show", "--property", "Listen", "--value", unit))...)
		}
	}
	return slices.DeleteFunc(wanted, func(p ports.Port) bool { return slices.Contains(held, p.Address.String()) })
}
