#!/usr/bin/env bash
# Removes the hosts of both demos, including everything on them.
set -euo pipefail
cd "$(dirname "$0")/.."

for host in iri-lb-demo iri-lb-demo-{1,2,3,nodes}; do
  docker container inspect "$host" >/dev/null 2>&1 || continue
  tools/host.sh remove "$host"
  echo "removed the host $host"
done
