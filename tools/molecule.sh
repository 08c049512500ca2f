#!/usr/bin/env bash
# Runs Molecule with the project's own Ansible. Usage: tools/molecule.sh ARGUMENTS-OF-MOLECULE…
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$(tools/venv.sh)
# Ansible refuses a locale that is not UTF-8. The tools that Molecule calls are those of the same environment.
export PATH="$venv/bin:$PATH" LC_ALL=C.UTF-8
exec molecule "$@"
