//go:build integration

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ory/dockertest/v3"
)

var (
	docker *dockertest.Pool
	// bin is the folder of the programs under test, built with buildFlags.
	bin string
)

func TestMain(m *testing.M) {
	code, err := runAll(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration:", err)
		code = 1
	}
	os.Exit(code)
}

func runAll(m *testing.M) (int, error) {
	var err error
	if docker, err = dockertest.NewPool(""); err == nil {
		err = docker.Client.Ping()
	}
	if err != nil {
		return 1, fmt.Errorf("no Docker engine answers (start one, or run make setup): %w", err)
	}
	if bin, err = os.MkdirTemp("", "iri-lb-integration"); err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(bin) }()
	for _, program := range []string{"iri-lb-handler", "iri-fake-node", "iri-node-check"} {
		flags, withC := buildFlags, buildsWithC
		if program == "iri-node-check" { // runs inside the Consul container: no C library
			flags, withC = nil, false
		}
		args := append([]string{"build", "-o", filepath.Join(bin, program)}, flags...)
		cmd := exec.Command("go", append(args, "../../src/cmd/"+program)...)
		cmd.Env = os.Environ()
		if !withC {
			cmd.Env = append(cmd.Env, "CGO_ENABLED=0")
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("build %s: %w\n%s", program, err, out)
		}
	}
	return m.Run(), nil
}

func image(variable, fallback string) string {
	if v := os.Getenv(variable); v != "" {
		return v
	}
	return fallback
}
