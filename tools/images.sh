#!/usr/bin/env bash
# Makes sure that the local Docker has the images that the tests and the demo need, and that CACHE/images has those
# that a Docker inside a test host loads. For each image, the first of these that works:
#   1. it is in the local Docker, 2. its archive in CACHE/images, 3. the image registry, 4. built here from packages.
# Usage: tools/images.sh [--matrix | --nginx]      --matrix: also the other HAProxy versions of the integration tests
#                                                  --nginx: also the nginx that `make failures` compares with
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."
# shellcheck source=tools/lib.sh
. tools/lib.sh

CONSUL_VERSION=1.22.0
CONSUL_IMAGE=hashicorp/consul:$CONSUL_VERSION
HAPROXY_IMAGE=haproxy:3.0
HOST_IMAGE=iri-lb-haproxy/host-debian:13
NGINX_IMAGE=nginx:1.26.3
ARCHIVES=$CACHE/images

REGISTRY_TIMEOUT=20 # seconds until a registry has to say that it has the image
PULL_TIMEOUT=600    # seconds for the download that follows
RECIPE_LABEL=iri-lb-haproxy.recipe

# --- the registry -------------------------------------------------------------------------------------------------

REGISTRY=unknown # unknown, reachable or unreachable: the first image that is not here finds it out for all

# pull IMAGE: fails at once when the registry is known to be out of reach.
pull() {
  local image=$1 log="$LOGS/pull.log"
  [[ $REGISTRY != unreachable ]] || return 1
  say "pulling $image"
  timeout "$PULL_TIMEOUT" docker pull "$image" >"$log" 2>&1 &
  local pid=$! deadline=$((SECONDS + REGISTRY_TIMEOUT))
  # Docker prints "Pulling from …" as soon as the registry has answered for this image.
  until grep -q 'Pulling from' "$log"; do
    if ! kill -0 "$pid" 2>/dev/null || ((SECONDS > deadline)); then
      kill "$pid" 2>/dev/null || true
      wait "$pid" && return # a quick pull may have ended before its output was looked at
      REGISTRY=unreachable
      say "  no image registry answers, so images are built on this machine"
      return 1
    fi
    sleep 0.2
  done
  REGISTRY=reachable
  wait "$pid" || { say "  the download failed, see $log"; return 1; }
}

# --- what is here already -----------------------------------------------------------------------------------------

in_docker() { docker image inspect "$1" >/dev/null 2>&1; }

# recipe FOLDER: a hash of the files that an image is made from.
recipe() { find "images/$1" -type f | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c 1-16; }

# is_current IMAGE FOLDER: the image is in Docker, and was pulled (no recipe) or built from the recipe of today.
is_current() {
  local label
  label=$(docker image inspect --format "{{index .Config.Labels \"$RECIPE_LABEL\"}}" "$1" 2>/dev/null) || return 1
  [[ -z $label || $label == "$(recipe "$2")" ]]
}

archive_of() {
  local name=${1##*/}
  echo "$ARCHIVES/${name/:/-}.tar"
}

load_archive() {
  local archive
  archive=$(archive_of "$1")
  [[ -f $archive ]] || return 1
  docker load --quiet --input "$archive" >/dev/null 2>&1
}

# save_archive IMAGE: writes the archive, unless it holds this very image already.
save_archive() {
  local image=$1 archive id
  archive=$(archive_of "$image")
  id=$(docker image inspect --format '{{.Id}}' "$image")
  [[ ! -f $archive || $(cat "$archive.id" 2>/dev/null) != "$id" ]] || return 0
  say "saving $image to $archive"
  docker save --output "$archive.part" "$image"
  mv "$archive.part" "$archive"
  echo "$id" >"$archive.id"
}

# --- building -----------------------------------------------------------------------------------------------------

# docker_build IMAGE FOLDER CONTEXT [OPTION…]: the recipe's hash goes with the image, so that a change of the recipe is seen.
docker_build() {
  local image=$1 folder=$2 context=$3
  shift 3
  # The host's network: its resolver and its package mirror may be out of reach from a bridge.
  quietly "$LOGS/build-$folder.log" docker build --force-rm --network host --tag "$image" \
    --label "$RECIPE_LABEL=$(recipe "$folder")" "$@" "$context"
}

# debian_base SUITE: makes a minimal Debian without a registry and prints its image name.
debian_base() {
  local suite=$1 image=iri-lb-haproxy/debian:$1 root=$CACHE/debian-$1.tar
  echo "$image"
  ! in_docker "$image" || return 0
  need mmdebstrap mmdebstrap debian-archive-keyring
  say "  making a minimal Debian $suite, about 20 s"
  quietly "$LOGS/mmdebstrap-$suite.log" mmdebstrap --variant=minbase --skip=check/qemu \
    --aptopt='Acquire::Check-Valid-Until "false"' "$suite" "$root"
  docker import --change 'CMD ["bash"]' "$root" "$image" >/dev/null
  rm -f "$root"
}

build_haproxy() {
  local image=$1 suite=$2 base
  say "building $image without a registry, about 30 s"
  base=$(debian_base "$suite")
  docker_build "$image" haproxy images/haproxy --build-arg "BASE=$base"
}

build_nginx() {
  local base
  say "building $NGINX_IMAGE without a registry, about 20 s"
  base=$(debian_base trixie)
  docker_build "$NGINX_IMAGE" nginx images/nginx --build-arg "BASE=$base"
}

build_host() {
  local base=debian:13
  say "building $HOST_IMAGE, about 40 s"
  pull "$base" || base=$(debian_base trixie)
  docker_build "$HOST_IMAGE" host images/host --build-arg "BASE=$base"
}

consul_binary() {
  local binary
  binary="$CACHE/consul-$CONSUL_VERSION-$(tools/go.sh env GOARCH)"
  echo "$binary"
  [[ ! -x $binary ]] || return 0
  say "  compiling Consul $CONSUL_VERSION, 4 to 7 minutes on two cores, once a machine"
  CGO_ENABLED=0 quietly "$LOGS/build-consul-go.log" tools/go.sh build -C images/consul -trimpath -ldflags '-s -w' \
    -o "$binary.part" github.com/hashicorp/consul
  mv "$binary.part" "$binary"
}

build_consul() {
  local context=$CACHE/consul-context binary base
  say "building $CONSUL_IMAGE without a registry"
  binary=$(consul_binary)
  base=$(debian_base trixie)
  mkdir -p "$context"
  cp images/consul/Dockerfile "$context/"
  cp "$binary" "$context/consul"
  docker_build "$CONSUL_IMAGE" consul "$context" --build-arg "BASE=$base"
  rm -rf "$context"
}

# --- the images ---------------------------------------------------------------------------------------------------

# ensure IMAGE FOLDER BUILD…: a function for each way; the first that works ends it.
ensure() {
  local image=$1 folder=$2
  shift 2
  is_current "$image" "$folder" && return
  load_archive "$image" && is_current "$image" "$folder" && return
  [[ $folder != host ]] && pull "$image" && return
  "$@"
}

ensure_images() {
  mkdir -p "$ARCHIVES"
  ensure "$HAPROXY_IMAGE" haproxy build_haproxy "$HAPROXY_IMAGE" trixie
  save_archive "$HAPROXY_IMAGE"
  ensure "$HOST_IMAGE" host build_host
  ensure "$CONSUL_IMAGE" consul build_consul
  save_archive "$CONSUL_IMAGE"
}

ensure_matrix() {
  ensure haproxy:2.6 haproxy build_haproxy haproxy:2.6 bookworm
  ensure haproxy:3.2 haproxy build_haproxy haproxy:3.2 sid
}

ensure_nginx() { ensure "$NGINX_IMAGE" nginx build_nginx; }

case "${1:-}" in
  '') locked images ensure_images ;;
  --matrix)
    locked images ensure_images
    locked images ensure_matrix
    ;;
  --nginx)
    locked images ensure_images
    locked images ensure_nginx
    ;;
  *) die "unknown argument: $1" "usage: tools/images.sh [--matrix | --nginx]" ;;
esac
