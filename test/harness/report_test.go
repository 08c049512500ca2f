package harness

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const marked = "by hand\n<!-- make x: begin -->\nold\n<!-- make x: end -->\nby hand too\n"

// inRepository changes to a new repository with one commit.
func inRepository(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("docs", 0o700))
	for name, text := range map[string]string{"go.mod": "module m\n", "docs/performance.md": marked, "docs/other.md": "other\n"} {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	}
	for _, args := range [][]string{
		{"init", "-q"},
		{"add", "."},
		{"-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "-m", "first"},
	} {
		out, err := exec.Command("git", args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}

func TestReportIsWrittenBetweenItsMarks(t *testing.T) {
	inRepository(t)
	r := Report{Page: "docs/performance.md", Section: "x"}
	require.NoError(t, r.Begin())
	require.NoError(t, r.Write("new\n"))
	text, err := os.ReadFile(r.Page)
	require.NoError(t, err)
	assert.Equal(t, "by hand\n<!-- make x: begin -->\n\nnew\n\n<!-- make x: end -->\nby hand too\n", string(text))
	require.NoError(t, r.Begin(), "a page that a report has written is no change")
	assert.NotContains(t, Revision(), "dirty")
	assert.ErrorContains(t, Report{Page: r.Page, Section: "y"}.Write(""), "make y: begin")
}

func TestReportRefusesTreeWithUncommittedChanges(t *testing.T) {
	r := Report{Page: "docs/performance.md", Section: "x, a part"}
	for _, file := range []string{"docs/other.md", "new.go"} {
		t.Run(file, func(t *testing.T) {
			inRepository(t)
			require.NoError(t, os.WriteFile(file, nil, 0o600))
			err := r.Begin()
			require.ErrorContains(t, err, "uncommitted changes")
			assert.ErrorContains(t, err, "`make x`")
			assert.ErrorContains(t, err, file)
			assert.Contains(t, Revision(), "-dirty")
			t.Setenv("REPORT", "-")
			assert.NoError(t, r.Begin())
		})
	}
}
