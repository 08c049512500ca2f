#!/usr/bin/env bash
# Runs every linter, also when one of them has complained, and fails when any has.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/lib.sh
. tools/lib.sh

failed=()

# check NAME COMMAND…
check() {
  local name=$1
  shift
  say "lint: $name"
  "$@" || failed+=("$name")
}

go_tool() { tools/go.sh tool -modfile=tools/go.mod "$@"; }

gofumpt_lists_nothing() {
  local unformatted
  unformatted=$(go_tool gofumpt -l src test) || return 1
  [[ -z $unformatted ]] || { say "not formatted, run: go tool -modfile=tools/go.mod gofumpt -w src test"; say "$unformatted"; return 1; }
}

need shellcheck shellcheck
need git git
venv=$(tools/venv.sh)
export PATH="$venv/bin:$PATH" LC_ALL=C.UTF-8

# Without the folders that Git ignores.
mapfile -t shell_scripts < <(git ls-files --cached --others --exclude-standard -- '*.sh' .ci/run)

check 'go vet' tools/go.sh vet -tags integration ./...
check staticcheck go_tool staticcheck -tags integration ./...
check gofumpt gofumpt_lists_nothing
check shellcheck shellcheck --external-sources "${shell_scripts[@]}"
check 'arrows of docs/architecture.md' python tools/arrows.py
check 'docs/variables.md' python tools/variables.py --check
check links python tools/links.py
check yamllint yamllint --strict .
# The collections come with the package `ansible`: nothing is to be fetched.
check ansible-lint ansible-lint --offline --profile production

((${#failed[@]} == 0)) || die "failed: ${failed[*]}"
say 'lint: clean'
