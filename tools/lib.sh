# shellcheck shell=bash
# Functions that the scripts of this repository share. Source it; it runs nothing by itself.

# The folder for what is slow to make and may be made again at any time.
CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/iri-lb-haproxy"
LOGS="$CACHE/logs"
mkdir -p "$LOGS"

# say TEXT: one line of progress. It goes to stderr, so that a script's answer on stdout stays clean.
say() { printf '%s\n' "$*" >&2; }

# die TEXT [HINT]: says what is wrong, and what to do about it, and ends the script.
die() {
  say "error: $1"
  [[ -z ${2:-} ]] || say "hint:  $2"
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# quietly LOG COMMAND…: runs a long command with its output in the file LOG, which is shown only when the command fails.
quietly() {
  local log=$1
  shift
  "$@" >"$log" 2>&1 && return
  local code=$?
  say "error: '$*' failed with exit code $code. Last lines of $log:"
  tail -n 30 "$log" >&2
  return "$code"
}

# need COMMAND PACKAGE…: makes sure that COMMAND exists: as root on Debian and Ubuntu by installing the packages.
need() {
  local command=$1
  shift
  have "$command" || install_packages "$@"
}

install_packages() {
  if [[ $(id -u) != 0 ]] || ! have apt-get; then
    die "missing on this machine: $*" "install it, on Debian and Ubuntu by: sudo apt-get install $*"
  fi
  say "installing $*"
  apt_update
  quietly "$LOGS/apt-install.log" apt_get install --yes --no-install-recommends "$@"
}

# new_venv FOLDER LOG: makes an empty Python environment.
new_venv() {
  python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
  quietly "$2" python3 -m venv "$1"
}

apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@"; }

# apt_update: a foreign package source that cannot be reached must not stop us; a missing package says so at its installation.
apt_update() {
  apt_get update >"$LOGS/apt-update.log" 2>&1 || say "warning: some package sources could not be read, see $LOGS/apt-update.log"
}

# locked NAME COMMAND…: runs COMMAND while no other process runs one under the same NAME.
locked() {
  local name=$1 fd
  shift
  need flock util-linux
  exec {fd}>"$CACHE/$name.lock"
  if ! flock --nonblock "$fd"; then
    say "waiting for another run that holds $CACHE/$name.lock"
    flock "$fd"
  fi
  # The children do not get the lock: a daemon that one of them starts would hold it for ever.
  ("$@") {fd}>&-
  local code=$?
  exec {fd}>&-
  return "$code"
}
