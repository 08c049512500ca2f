package harness

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ory/dockertest/v3"
)

// Docker is the connection to the container engine, set by Main.
var Docker *dockertest.Pool

// bin is the folder of the programs under test, set by Main.
var bin string

// Build says how the programs under test are built.
type Build struct {
	flags []string
	cgo   bool
}

var (
	// RaceBuild has the race detector, for every test of behaviour.
	RaceBuild = Build{flags: []string{"-race"}, cgo: true}
	// ReleaseBuild is what `make build` makes, for measurements.
	ReleaseBuild = Build{flags: []string{"-trimpath", "-ldflags", "-s -w"}}
)

// Main is the TestMain of each package: it connects to Docker, builds the programs, and runs the tests.
func Main(m *testing.M, build Build) {
	flag.Parse()
	if flag.Lookup("test.list").Value.String() != "" { // go test -list needs no containers
		os.Exit(m.Run())
	}
	code, err := runAll(m, build)
	if err != nil {
		fmt.Fprintln(os.Stderr, "test harness:", err)
		code = 1
	}
	os.Exit(code)
}

func runAll(m *testing.M, build Build) (code int, err error) {
	if Docker, err = dockertest.NewPool(""); err == nil {
		err = Docker.Client.Ping()
	}
	if err != nil {
		return 1, fmt.Errorf("no Docker engine answers (start one, or run make setup): %w", err)
	}
	if bin, err = os.MkdirTemp("", "iri-lb-test"); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(bin)) }()
	for program, how := range map[string]Build{
		"iri-lb-handler": build, "iri-fake-node": build,
		"iri-node-check": {}, // runs inside the Consul container: no C library
	} {
		if err := how.run("./src/cmd/"+program, program); err != nil {
			return 1, err
		}
	}
	return m.Run(), nil
}

// run builds a package of this repository into the folder of the programs under test.
func (b Build) run(pkg, program string) error {
	cmd := exec.Command("go", append(append([]string{"build", "-o", Program(program)}, b.flags...), pkg)...)
	cmd.Dir = Root()
	cmd.Env = os.Environ()
	if !b.cgo {
		cmd.Env = append(cmd.Env, "CGO_ENABLED=0")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// BuildStatic also builds a package under another name, without the C library so that it runs in any container, and
// with more flags of go build.
func BuildStatic(t *testing.T, pkg, program string, flags ...string) {
	t.Helper()
	if err := (Build{flags: flags}).run(pkg, program); err != nil {
		t.Fatal(err)
	}
}

// Program is the path of a program under test.
func Program(name string) string { return filepath.Join(bin, name) }

// Root is the repository's folder: the closest one above the working directory that has a go.mod.
func Root() string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	panic("the working directory is not inside the repository")
}
