#!/usr/bin/env bash
# Runs all levels of tests, those side by side that do not disturb each other. Each part writes to a file of its own in
# build/test/; the terminal gets progress, the output of what failed, and the totals.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/lib.sh
. tools/lib.sh

OUT=build/test
PROGRESS_EVERY=30 # seconds

# The output goes to files.
export NO_COLOR=1 ANSIBLE_NOCOLOR=1 PY_COLORS=0

declare -A pid_of started_at

# start PART COMMAND…: runs a part in the background.
start() {
  local part=$1
  shift
  say "$part: started, output in $OUT/$part.log"
  started_at[$part]=$SECONDS
  "$@" >"$OUT/$part.log" 2>&1 &
  pid_of[$part]=$!
}

# finish [PART]: waits for a part, or for all that were started; reports each as it ends, and shows now and then what
# the others are at.
finish() {
  local part next=$((SECONDS + PROGRESS_EVERY))
  while ((${#pid_of[@]} > 0)) && [[ -z ${1:-} || -n ${pid_of[$1]:-} ]]; do
    sleep 0.5
    for part in "${!pid_of[@]}"; do
      kill -0 "${pid_of[$part]}" 2>/dev/null || report "$part"
    done
    ((SECONDS >= next)) || continue
    next=$((SECONDS + PROGRESS_EVERY))
    for part in "${!pid_of[@]}"; do
      say "$part: $((SECONDS - started_at[$part])) s, at: $(last_line "$part")"
    done
  done
}

# last_line PART: what it works on, without colours, cut to fit.
last_line() { sed 's/\x1b\[[0-9;]*m//g' "$OUT/$1.log" | grep -v '^ *$' | tail -n 1 | cut -c 1-100; }

# report PART: it has ended.
report() {
  local part=$1 seconds pid
  seconds=$((SECONDS - started_at[$part]))
  pid=${pid_of[$part]}
  unset "pid_of[$part]"
  if wait "$pid"; then
    say "$part: ok, $seconds s"
    return
  fi
  failed_parts+=("$part")
  say "$part: FAILED after $seconds s; the end of $OUT/$part.log:"
  tail -n 20 "$OUT/$part.log" >&2
}

# failures PART: what the tests that failed said, at most 40 lines each. Other tests that end later have pushed it out
# of the log's end.
failures() {
  say "$1: failed:"
  awk '
    /^ *=== (RUN|NAME|CONT)/ { test = $3; next }
    /^ *--- FAIL: / {
      for (i = (lines[$3] > 40 ? lines[$3] - 39 : 1); i <= lines[$3]; i++) print said[$3, i]
      print
      next
    }
    /^(FAILED|ERROR) |^fatal: |^panic: |^WARNING: DATA RACE/ { print }
    test { said[test, ++lines[test]] = $0 }
  ' "$OUT/$1.log" >&2
}

# go_results PART PASS|FAIL: how many Go tests, with their subtests, ended so.
go_results() { grep -cE "^ *--- $2: " "$OUT/$1.log" || true; }

# pytest_results PART passed|failed: the sum over the summary lines, "=== 2 failed, 3 passed in 9.5s ===".
pytest_results() {
  sed -nE "s/\x1b\[[0-9;]*m//g; s/^[^=]*=+ (.* )?([0-9]+) $2.* in [0-9.]+s.*/\2/p" "$OUT/$1.log" | awk '{ sum += $1 } END { print sum + 0 }'
}

# results PART: prints "PASSED FAILED". A part that failed before its first test counts as one failure.
results() {
  local part=$1 passed failed
  [[ -f $OUT/$part.log ]] || { echo 0 0; return; }
  passed=$(($(go_results "$part" PASS) + $(pytest_results "$part" passed)))
  failed=$(($(go_results "$part" FAIL) + $(pytest_results "$part" failed)))
  if [[ " ${failed_parts[*]} " == *" $part "* ]] && ((failed == 0)); then failed=1; fi
  echo "$passed $failed"
}

failed_parts=()
mkdir -p "$OUT"
rm -f "$OUT"/*.log

tools/docker-engine.sh
# On a new machine the setup compiles Consul for some minutes; the unit tests need nothing of it.
start setup make --no-print-directory setup
start unit make --no-print-directory test-unit GO_TEST_FLAGS=-v
finish
# Without Docker and its images nothing that follows can work.
if [[ " ${failed_parts[*]} " != *' setup '* ]]; then
  start integration make --no-print-directory test-integration GO_TEST_FLAGS=-v
  start molecule make --no-print-directory test-molecule
  finish integration # the machine has enough to do
  start cluster make --no-print-directory test-ha-short
  finish
fi

for part in "${failed_parts[@]}"; do failures "$part"; done

total_passed=0
total_failed=0
for part in setup unit integration molecule cluster; do
  read -r passed failed <<<"$(results "$part")"
  ((total_passed += passed, total_failed += failed)) || true
done
echo "$total_passed passed, $total_failed failed"
((${#failed_parts[@]} == 0)) || die "failed: ${failed_parts[*]}"
