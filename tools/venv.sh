#!/usr/bin/env bash
# Makes a Python environment with Ansible and the tools of tools/requirements.txt, once for each version of that file,
# and prints its folder.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/lib.sh
. tools/lib.sh

REQUIREMENTS=tools/requirements.txt

# The hash has the interpreter in it: an environment does not outlive its Python.
venv_folder() {
  local hash
  hash=$({ python3 --version && cat "$REQUIREMENTS"; } | sha256sum)
  echo "$CACHE/venv-${hash:0:12}"
}

make_venv() {
  local venv=$1
  [[ ! -f $venv/.complete ]] || return 0 # another run was faster
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "$(python3 --version) is too old for the Ansible of $REQUIREMENTS: 3.11 or newer is needed" "install a newer Python, or put it first in PATH"
  say "installing Ansible and Molecule into $venv, about 30 s"
  rm -rf "$venv"
  new_venv "$venv" "$LOGS/venv.log"
  quietly "$LOGS/venv.log" "$venv/bin/pip" install --disable-pip-version-check --requirement "$REQUIREMENTS"
  touch "$venv/.complete"
}

need python3 python3
venv=$(venv_folder)
[[ -f $venv/.complete ]] || locked venv make_venv "$venv"
echo "$venv"
