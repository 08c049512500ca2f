#!/usr/bin/env bash
# Makes sure that a Docker engine answers: one that runs already is used as it is; else, as root on Debian and Ubuntu,
# Docker is installed and started.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/lib.sh
. tools/lib.sh

START_DEADLINE=60 # seconds; a first start on a slow disk takes about 10

engine_answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# explain_and_stop: for an engine that is not ours to start.
explain_and_stop() {
  if have docker && docker version 2>&1 | grep -qi 'permission denied'; then
    die "this user may not talk to the Docker engine" "sudo usermod -aG docker $(id -un), then log in again; or run as root"
  fi
  die "no Docker engine answers, and only root on Debian or Ubuntu gets one installed by this script" \
    "start Docker (sudo systemctl start docker), or install it: https://docs.docker.com/engine/install/"
}

start_engine() {
  if [[ -d /run/systemd/system ]]; then
    systemctl start docker
    return
  fi
  say "starting dockerd in the background, log in $LOGS/dockerd.log"
  # A pid file of an engine that was killed would stop the start: its number may be another process's by now.
  rm -f /var/run/docker.pid
  setsid nohup dockerd >"$LOGS/dockerd.log" 2>&1 </dev/null &
}

wait_for_engine() {
  local deadline=$((SECONDS + START_DEADLINE))
  until engine_answers; do
    if ((SECONDS > deadline)); then
      [[ ! -f $LOGS/dockerd.log ]] || tail -n 20 "$LOGS/dockerd.log" >&2
      die "the Docker engine does not answer after $START_DEADLINE s" "see $LOGS/dockerd.log or: journalctl -u docker"
    fi
    sleep 1
  done
}

ensure_engine() {
  ! engine_answers || return 0 # another run was faster
  if [[ $(id -u) != 0 ]] || ! have apt-get; then explain_and_stop; fi
  need dockerd docker.io
  need docker docker-cli # a package of its own since Debian 13, part of docker.io before
  engine_answers || start_engine
  wait_for_engine
}

engine_answers || locked docker-engine ensure_engine
