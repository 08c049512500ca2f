#!/usr/bin/env bash
# Removes the host of the demo, including everything on it.
set -euo pipefail
cd "$(dirname "$0")/.."

docker container inspect iri-lb-demo >/dev/null 2>&1 || exit 0
tools/host.sh remove iri-lb-demo
echo "removed the host iri-lb-demo"
