#!/usr/bin/env bash
# Runs every fuzz target for FUZZ_TIME, one after the other, and says how many executions there were.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/lib.sh
. tools/lib.sh

TIME=${FUZZ_TIME:-60s}

total=0
for package in $(tools/go.sh list ./src/... ./test/iribody); do
  for target in $(tools/go.sh test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
    log=$(mktemp)
    tools/go.sh test -run '^$' -fuzz "^$target\$" -fuzztime "$TIME" "$package" 2>&1 | tee "$log" | grep -E 'Failing|panic|FAIL' >&2 || true
    grep -q '^ok' "$log" || die "$target in $package failed, see the lines above"
    done=$(sed -nE 's/.*execs: ([0-9]+).*/\1/p' "$log" | tail -n 1)
    rm -f "$log"
    say "$target (${package##*/}): ${done:-0} executions"
    ((total += ${done:-0}))
  done
done
echo "$total executions, no failure"
