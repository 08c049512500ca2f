#!/usr/bin/env bash
# A throwaway host: a container with systemd and a Docker of its own. The demo runs the playbook on one.
# Usage: tools/host.sh start NAME [ADDRESS] | remove NAME
# With an address, the host is on a network of its own kind, which several hosts share: a container on Docker's default network gets
# another address whenever containers start in another order.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/lib.sh
. tools/lib.sh

HOST_IMAGE=iri-lb-haproxy/host-debian:13
BOOT_DEADLINE=120 # seconds; it takes about 5

# Addresses below .128 are given out by hand, those from there on by Docker.
NETWORK=iri-lb-cluster
SUBNET=172.31.77.0/24
BY_DOCKER=172.31.77.128/25

# What systemd and a nested Docker need. Not simply --privileged: where the engine itself runs without CAP_SYS_RESOURCE
# (in a sandbox, say) that is refused. The host's cgroup namespace, because a nested Docker cannot make cgroups in a private one.
# /var/lib/docker is a volume, because overlayfs does not stack on itself.
HOST_OPTIONS=(
  --cap-add ALL --cap-drop SYS_RESOURCE
  --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined
  --device-cgroup-rule 'a *:* rwm'
  --cgroupns host --volume /sys/fs/cgroup:/sys/fs/cgroup:rw
  --tmpfs /run --tmpfs /run/lock --tmpfs /tmp
  --volume /var/lib/docker
)

booted() {
  local state
  # "degraded" will do: a unit that cannot work in a container failed.
  state=$(docker exec "$1" systemctl is-system-running 2>/dev/null) || true
  [[ $state == running || $state == degraded ]] && docker exec "$1" docker version >/dev/null 2>&1
}

start() {
  local name=$1 address=${2:-} deadline=$((SECONDS + BOOT_DEADLINE)) network=()
  if [[ -n $address ]]; then
    # Another host that starts at the same time may have made it meanwhile.
    docker network inspect "$NETWORK" >/dev/null 2>&1 ||
      docker network create --subnet "$SUBNET" --ip-range "$BY_DOCKER" "$NETWORK" >/dev/null 2>&1 ||
      docker network inspect "$NETWORK" >/dev/null
    network=(--network "$NETWORK" --ip "$address")
  fi
  docker run --detach --name "$name" --hostname "$name" "${network[@]}" "${HOST_OPTIONS[@]}" "$HOST_IMAGE" >/dev/null
  until booted "$name"; do
    ((SECONDS < deadline)) || die "the host $name has not booted after $BOOT_DEADLINE s" "look at: docker exec $name journalctl -b"
    sleep 0.5
  done
}

# The volume of the nested Docker goes too.
remove() { docker rm --force --volumes "$1" >/dev/null 2>&1 || true; }

case "${1:-} ${2:-}" in
  'start '?*) start "$2" "${3:-}" ;;
  'remove '?*) remove "$2" ;;
  *) die "a command and a name are needed" "usage: tools/host.sh start NAME [ADDRESS] | remove NAME" ;;
esac
