#!/usr/bin/env bash
# Installs the wallets' libraries that test/wallets runs, once for each version of its lists of packages, and prints
# their folder: node_modules/ has those for Node.js, venv/ has Python with PyOTA.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tools/lib.sh
. tools/lib.sh

LISTS=test/wallets/clients

# The hash has the interpreters in it, as that of tools/venv.sh does.
wallets_folder() {
  local hash
  hash=$({ node --version && python3 --version && cat "$LISTS"/package*.json "$LISTS/requirements.txt" "$LISTS"/pysha3/*; } | sha256sum)
  echo "$CACHE/wallets-${hash:0:12}"
}

install_wallets() {
  local folder=$1
  [[ ! -f $folder/.complete ]] || return 0 # another run was faster
  say "installing wallets' libraries into $folder, about 20 s"
  rm -rf "$folder"
  mkdir -p "$folder"
  cp -r "$LISTS"/package*.json "$LISTS/requirements.txt" "$LISTS/pysha3" "$folder"
  cd "$folder"
  quietly "$LOGS/wallets-npm.log" npm ci --ignore-scripts --no-audit --no-fund
  new_venv venv "$LOGS/wallets-pip.log"
  quietly "$LOGS/wallets-pip.log" venv/bin/pip install --disable-pip-version-check --requirement requirements.txt
  touch .complete
}

need node nodejs
need npm npm
need python3 python3
if [[ ! $(node --version) =~ ^v([0-9]+) ]] || ((BASH_REMATCH[1] < 14)); then
  die "Node.js $(node --version) is too old for the wallets of test/wallets: 14 or newer is needed" "install a newer Node.js, or put it first in PATH"
fi
folder=$(wallets_folder)
[[ -f $folder/.complete ]] || locked wallets install_wallets "$folder"
echo "$folder"
