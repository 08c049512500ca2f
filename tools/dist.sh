#!/usr/bin/env bash
# Builds the release archives into build/dist: the programs for each architecture with licence, documentation, man page and
# completion, and SHA256SUMS. The archives depend on the commit alone, to the byte: the version of Go is that of go.mod.
# Usage: tools/dist.sh            build the archives of the current commit
#        tools/dist.sh --check    build them in two different directories, once with an empty cache, and compare them
#        tools/dist.sh --in-place VERSION SECONDS    build from this directory, with file times SECONDS since 1970
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/lib.sh
. tools/lib.sh

OUT=build/dist
ARCHITECTURES='amd64 arm64'

# archive VERSION SECONDS ARCHITECTURE: builds one archive.
archive() {
  local version=$1 seconds=$2 arch=$3
  local name=iri-lb-haproxy_${version#v}_linux_$arch
  local root=$OUT/$name
  say "building $OUT/$name.tar.gz"
  mkdir -p "$root/man" "$root/completions"
  # Neither another version of Go nor settings of the user may change the binaries.
  env GOTOOLCHAIN="go$(sed -n 's/^go //p' go.mod)" GOFLAGS='' GOEXPERIMENT='' GOAMD64=v1 GOARM64=v8.0 CGO_ENABLED=0 GOOS=linux GOARCH="$arch" \
    tools/go.sh build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$version" -o "$root/" ./src/cmd/...
  cp LICENSE README.md CHANGELOG.md "$root"
  cp docs/man/*.1 "$root/man"
  cp roles/iri-node-check/files/iri-node-check.bash "$root/completions"
  tar --create --directory "$OUT" --format ustar --sort name --mtime "@$seconds" --owner 0 --group 0 --numeric-owner \
    --mode 'u=rwX,go=rX' "$name" | gzip --no-name --best >"$OUT/$name.tar.gz"
  rm -r "$root"
}

# build VERSION SECONDS: builds all archives.
build() {
  local arch
  rm -rf "$OUT"
  mkdir -p "$OUT"
  for arch in $ARCHITECTURES; do archive "$1" "$2" "$arch"; done
  (cd "$OUT" && LC_ALL=C sha256sum -- *.tar.gz >SHA256SUMS)
  cat "$OUT/SHA256SUMS"
}

version() { git describe --tags --always; }
commit_time() { git log -1 --format=%ct; }

# check: fails unless both builds have the same checksums.
check() {
  local temporary directory
  temporary=$(mktemp -d)
  # shellcheck disable=SC2064 # expand it now, while the variable exists
  trap "chmod -R u+w '$temporary'; rm -rf '$temporary'" EXIT
  for directory in a another-directory; do
    mkdir "$temporary/$directory"
    git archive HEAD | tar --extract --directory "$temporary/$directory"
  done
  "$temporary/a/tools/dist.sh" --in-place "$(version)" "$(commit_time)" >"$temporary/first"
  say 'building again, with an empty cache'
  (umask 077 && GOCACHE=$temporary/cache "$temporary/another-directory/tools/dist.sh" --in-place "$(version)" "$(commit_time)" >"$temporary/second")
  diff "$temporary/first" "$temporary/second" || die 'two builds of the same commit differ'
  cat "$temporary/first"
  say 'both builds are the same'
}

case "${1:-}" in
  '')
    [[ -z $(git status --porcelain) ]] || die 'there are uncommitted changes' 'commit them first: an archive belongs to a commit'
    build "$(version)" "$(commit_time)"
    ;;
  --check) check ;;
  --in-place) build "$2" "$3" ;;
  *) die "unknown argument: $1" 'usage: tools/dist.sh [--check]' ;;
esac
