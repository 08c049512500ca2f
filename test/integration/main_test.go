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
	// bin is the folder of the programs under test, built with the race detector.
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
	for _, race := range [][]string{{"iri-lb-handler", "-race"}, {"iri-fake-node", "-race"}, {"iri-node-check"}} {
		args := append([]string{"build", "-o", filepath.Join(bin, race[0])}, race[1:]...)
		cmd := exec.Command("go", append(args, "../../src/cmd/"+race[0])...)
		cmd.Env = os.Environ()
		if len(race) == 1 { // runs inside the Consul container: no C library
			cmd.Env = append(cmd.Env, "CGO_ENABLED=0")
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("build %s: %w\n%s", race[0], err, out)
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
