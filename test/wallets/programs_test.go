//go:build integration

package wallets

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// wallet is a library, and the program that uses it.
type wallet struct {
	library string
	// command starts the program. It is relative to the folder of the libraries.
	command string
	program string
	// onlyPhrase: of a refusal the library shows the phrase of the status line, and nothing of the body.
	onlyPhrase bool
	// noPassword: the library cannot send one.
	noPassword bool
}

var libraries = []wallet{
	{library: "@iota/core", command: "node", program: "iota-core.js", onlyPhrase: true, noPassword: true},
	{library: "iota.lib.js", command: "node", program: "iota-lib.js"},
	{library: "PyOTA", command: "venv/bin/python", program: "pyota_wallet.py"},
}

// outcome is what came of a call, a line of the program's output.
type outcome struct {
	Call   string
	OK     bool
	Result any
	// Error is what the user of the wallet sees.
	Error string
}

// patience is for one program, which makes 40 calls and derives addresses in between.
const patience = 2 * time.Minute

// folder has the libraries, in node_modules/ and venv/.
var folder = sync.OnceValues(func() (string, error) {
	cmd := exec.Command(harness.Root() + "/tools/wallets.sh")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
})

// execute runs a program of clients/ with an authority to trust, or "" for those of the system only.
func execute(ctx context.Context, command, program, authority string, args ...string) ([]byte, error) {
	installed, err := folder()
	if err != nil {
		return nil, fmt.Errorf("tools/wallets.sh could not install the wallets' libraries, its reason is above: %w", err)
	}
	if strings.Contains(command, "/") {
		command = filepath.Join(installed, command)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, command, append([]string{filepath.Join(harness.Root(), "test/wallets/clients", program)}, args...)...)
	// Nothing else: a proxy of this machine would stand between the wallet and the load balancer.
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "PYTHONWARNINGS=ignore", "PYTHONDONTWRITEBYTECODE=1",
		"NODE_PATH=" + installed + "/node_modules",
	}
	if authority != "" {
		cmd.Env = append(cmd.Env, "NODE_EXTRA_CA_CERTS="+authority, "REQUESTS_CA_BUNDLE="+authority)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s%s", cmd, err, out, &stderr)
	}
	return out, nil
}

// run makes all calls of the wallet, or those that are named.
func (w wallet) run(ctx context.Context, provider, authority, ledger string, calls ...string) ([]outcome, error) {
	out, err := execute(ctx, w.command, w.program, authority, append([]string{provider, ledger}, calls...)...)
	if err != nil {
		return nil, err
	}
	var all []outcome
	for line := range bytes.Lines(out) {
		var o outcome
		if err := json.Unmarshal(line, &o); err != nil {
			return nil, fmt.Errorf("%s: %w: %s", w.program, err, line)
		}
		all = append(all, o)
	}
	return all, nil
}
