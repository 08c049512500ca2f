#!/usr/bin/env bash
# Runs Go tests. With RUN, a pattern as of `go test -run`, only those that match, in the packages that have some; and it
# fails when nothing matches, which `go test` calls ok.
# Usage: [RUN=PATTERN] tools/go-test.sh FLAGS-OF-GO-TEST… -- PACKAGES…
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/lib.sh
. tools/lib.sh

flags=()
while [[ $1 != -- ]]; do
  flags+=("$1")
  shift
done
shift
packages=("$@")

[[ -n ${RUN:-} ]] || exec tools/go.sh test "${flags[@]}" "${packages[@]}"

# The names of each package's tests come before its line "ok".
list=$(tools/go.sh test "${flags[@]}" -list "${RUN%%/*}" "${packages[@]}") || die "the tests could not be listed: $list"
mapfile -t matching < <(awk '/^(Test|Fuzz|Example)/ { n++ } $1 == "ok" { if (n) print $2; n = 0 }' <<<"$list")
((${#matching[@]} > 0)) || die "RUN='$RUN' matches no test in ${packages[*]}" "the names: grep -rn '^func Test' ${packages[*]//.../}"

# Of a pattern with slashes the first part has matched. Whether a subtest does is seen only when it runs.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
tools/go.sh test "${flags[@]}" -v -run "$RUN" "${matching[@]}" 2>&1 | tee "$log"
slashes=${RUN//[^\/]/}
grep -qE "^=== RUN +[^/]+(/.+){${#slashes}}\$" "$log" || die "RUN='$RUN' matches no subtest of ${RUN%%/*}" "spaces in a subtest's name are underscores, and signs such as ( mean something in a pattern"
