#!/usr/bin/env bash
# Prints the unit coverage of each package in src/internal, by its own tests, and of all of them together, and fails if one
# is below its minimum. The profile stays in build/cover.out: go tool cover -html build/cover.out
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/lib.sh
. tools/lib.sh

PROFILE=build/cover.out
TOTAL_MINIMUM=85 # percent of all statements

# Minimum in percent by package. Other packages count for the total only.
MINIMUMS='
  registry        85
  pool            85
  mirror          85
  haproxy         85
  haproxy/socket  85
  daemon          85
'

mkdir -p build
quietly "$LOGS/cover.log" tools/go.sh test -coverprofile "$PROFILE" ./src/internal/...

# A line of a profile: FILE:FROM,TO STATEMENTS COUNT
awk -v minimums="$MINIMUMS" -v total_minimum="$TOTAL_MINIMUM" '
  function row(name, covered, statements, minimum) {
    percent = statements ? 100 * covered / statements : 100
    low = percent < minimum
    printf "%-18s %6.1f %%  %5d statements%s\n", name, percent, statements, low ? "  BELOW " minimum " %" : ""
    failed = failed || low
  }
  BEGIN {
    count = split(minimums, fields)
    for (i = 1; i < count; i += 2) minimum[fields[i]] = fields[i + 1]
  }
  /^mode:/ { next }
  {
    package = $1
    sub(/^.*\/src\/internal\//, "", package)
    sub(/\/[^\/]*$/, "", package)
    statements[package] += $2
    all += $2
    if ($3 > 0) { covered[package] += $2; all_covered += $2 }
  }
  END {
    for (package in statements) names[++n] = package
    for (i = 2; i <= n; i++) # insertion sort: mawk has no asort
      for (j = i; j > 1 && names[j - 1] > names[j]; j--) { t = names[j]; names[j] = names[j - 1]; names[j - 1] = t }
    for (i = 1; i <= n; i++) row(names[i], covered[names[i]], statements[names[i]], minimum[names[i]] + 0)
    row("src/internal", all_covered, all, total_minimum)
    exit failed
  }
' "$PROFILE" || die "the unit coverage is too low" "see the uncovered lines with: go tool cover -html $PROFILE"
