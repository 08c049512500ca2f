package main

import (
	"flag"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/nodecheck"
)

const (
	manPage    = "../../../docs/man/iri-node-check.1"
	completion = "../../../roles/iri-node-check/files/iri-node-check.bash"
)

// everyFlag returns all flags of both ways to call the program.
func everyFlag() (check, serve []string) {
	settings := nodecheck.NewSettings()
	for _, s := range settings.All() {
		check = append(check, "--"+s.Name)
		if s.Letter != "" {
			check = append(check, "-"+s.Letter)
		}
	}
	var opts serveOptions
	flags := newFlags()
	opts.register(flags)
	flags.VisitAll(func(f *flag.Flag) { serve = append(serve, "--"+f.Name) })
	return append(check, "--ca-file", "--cert-file", "--key-file", "--user-file", "--json", "--explain", "--version"), serve
}

func TestTheHelpHasEveryFlagWithAnExample(t *testing.T) {
	check, serve := everyFlag()
	for _, tt := range []struct {
		text  string
		flags []string
	}{{usage, check}, {serveUsage, serve}} {
		for _, name := range tt.flags {
			assert.Regexp(t, `(?m)^ {2,6}(-\w, )?`+name+`\b`, tt.text, name)
			assert.Regexp(t, `(?s)(Example:|Examples:|e\.g\.).*`+name+`\b|`+name+`.{0,200}Example`, tt.text, name)
		}
		for line := range strings.Lines(tt.text) {
			assert.LessOrEqual(t, len(line), 80+len("\n"), "wider than a terminal: %s", line)
		}
	}
}

func TestTheManPageHasEveryFlag(t *testing.T) {
	text, err := os.ReadFile(manPage)
	require.NoError(t, err)
	check, serve := everyFlag()
	for _, name := range append(check, serve...) {
		assert.Regexp(t, `(?m)^\.It .*(Fl |, )`+regexp.QuoteMeta(strings.TrimPrefix(name, "-"))+`\b`, string(text), name)
	}
}

// complete returns what bash offers.
func complete(t *testing.T, line string) []string {
	t.Helper()
	script := `. "$1"; read -ra COMP_WORDS <<<"$2"; [[ $2 != *' ' ]] || COMP_WORDS+=(""); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
		_iri_node_check; printf '%s\n' "${COMPREPLY[@]}"`
	out, err := exec.CommandContext(t.Context(), "bash", "-euc", script, "bash", completion, line).CombinedOutput()
	require.NoError(t, err, string(out))
	return strings.Fields(string(out))
}

func TestBashCompletesEveryFlag(t *testing.T) {
	check, serve := everyFlag()
	offered := complete(t, "iri-node-check -a http://node:1 -")
	for _, name := range check {
		if strings.HasPrefix(name, "--") {
			assert.Contains(t, offered, name)
		}
	}
	offered = complete(t, "iri-node-check serve -")
	for _, name := range serve {
		assert.Contains(t, offered, name)
	}
	assert.NotContains(t, offered, "--pow")
}

func TestBashCompletesValues(t *testing.T) {
	assert.Equal(t, []string{"serve"}, complete(t, "iri-node-check se"))
	assert.Equal(t, []string{"--warn-answer"}, complete(t, "iri-node-check -i --warn-a"))
	assert.Equal(t, []string{"critical"}, complete(t, "iri-node-check --at-snapshot c"))
	assert.Equal(t, []string{"HORNET", "HORNET-legacy"}, complete(t, "iri-node-check -r HOR"))
	assert.Equal(t, []string{"docs_test.go"}, complete(t, "iri-node-check --ca-file docs_t"))
	assert.Empty(t, complete(t, "iri-node-check -t "))
}
