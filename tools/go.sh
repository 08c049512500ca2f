#!/usr/bin/env bash
# Runs Go: the local one, or the official container where there is none (or one that is too old to fetch the version in go.mod).
# Usage: tools/go.sh ARGUMENTS-OF-GO…
set -euo pipefail
# shellcheck source=tools/lib.sh
. "$(dirname "$0")/lib.sh"

GO_IMAGE=golang:1.26

# Go fetches the version that go.mod asks for since 1.21.
local_go_will_do() {
  local version
  have go || return 1
  version=$(go env GOVERSION)
  [[ $version =~ ^go1\.([0-9]+) ]] && ((BASH_REMATCH[1] >= 21))
}

if local_go_will_do; then
  exec go "$@"
fi

root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$CACHE/go"
docker image inspect "$GO_IMAGE" >/dev/null 2>&1 || docker pull "$GO_IMAGE" >&2 ||
  die "there is no Go 1.21 or newer on this machine, and the image $GO_IMAGE could not be pulled" "install Go: https://go.dev/doc/install"
exec docker run --rm --network host --user "$(id -u):$(id -g)" --volume "$root:$root" --volume "$CACHE:$CACHE" --workdir "$PWD" \
  --env CGO_ENABLED --env GOOS --env GOARCH --env GOTOOLCHAIN --env GOPATH="$CACHE/go" --env GOCACHE="$CACHE/go/build" "$GO_IMAGE" go "$@"
