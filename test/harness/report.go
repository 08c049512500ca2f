package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// reportPages are the pages that commands write their results into. A change in one of them does not change what
// another measures.
var reportPages = []string{"docs/high-availability.md", "docs/performance.md", "docs/reliability.md", "docs/security.md"}

// Report is where a command's results go: into a page, between two marks.
type Report struct {
	// Page is the file, such as docs/performance.md. Section is the text in the marks: the make target, and after a
	// comma which of its parts.
	Page, Section string
}

// Begin refuses to start a command that would publish the results of a tree with uncommitted changes: nobody could
// make them again. With REPORT=- the results are only printed, from any tree.
func (r Report) Begin() error {
	if printOnly() {
		return nil
	}
	changed, err := uncommitted()
	if err != nil {
		return err
	}
	if len(changed) > 0 {
		return fmt.Errorf("`make %s` writes into %s, and does so only from a tree without uncommitted changes; there are %d, such as in %s\n"+
			"commit them, or set REPORT=- to print the results and write nothing", r.target(), r.Page, len(changed), changed[0])
	}
	return nil
}

func (r Report) target() string {
	target, _, _ := strings.Cut(r.Section, ",")
	return target
}

// RequireBegin is Begin for tests.
func (r Report) RequireBegin(t *testing.T) {
	t.Helper()
	if err := r.Begin(); err != nil {
		t.Fatal(err)
	}
}

// Write replaces what the last run of the command wrote; the text around it was written by hand.
func (r Report) Write(text string) error {
	if printOnly() {
		fmt.Println(text)
		return nil
	}
	path := filepath.Join(Root(), r.Page)
	whole, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := fmt.Sprintf("<!-- make %s: begin -->", r.Section), fmt.Sprintf("<!-- make %s: end -->", r.Section)
	before, rest, ok := strings.Cut(string(whole), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s needs the lines %q and %q, in this order", r.Page, begin, end)
	}
	return os.WriteFile(path, []byte(before+begin+"\n\n"+strings.TrimSpace(text)+"\n\n"+end+after), 0o644)
}

// RequireWrite is Write for tests, whose log has the results in any case.
func (r Report) RequireWrite(t *testing.T, text string) {
	t.Helper()
	t.Log("\n" + text)
	if !printOnly() {
		require.NoError(t, r.Write(text))
	}
}

func printOnly() bool { return os.Getenv("REPORT") == "-" }

// Revision is the commit that was measured; it says so when the tree has uncommitted changes.
func Revision() string {
	out, err := exec.Command("git", "-C", Root(), "describe", "--tags", "--always").Output()
	if err != nil {
		return "unknown"
	}
	revision := strings.TrimSpace(string(out))
	if changed, err := uncommitted(); err != nil || len(changed) > 0 {
		revision += "-dirty"
	}
	return revision
}

// uncommitted lists the files with uncommitted changes, and those that Git does not know.
func uncommitted() ([]string, error) {
	out, err := exec.Command("git", "-C", Root(), "status", "--porcelain", "--untracked-files=normal").Output()
	if err != nil {
		return nil, fmt.Errorf("git status: %w", err)
	}
	var files []string
	for line := range strings.Lines(string(out)) {
		if file := strings.TrimSpace(line[3:]); !slices.Contains(reportPages, file) {
			files = append(files, file)
		}
	}
	return files, nil
}
