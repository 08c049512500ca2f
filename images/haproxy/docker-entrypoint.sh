#!/bin/sh
# Like the official image's entry point: `haproxy …` and bare options get master-worker mode in the foreground; anything else runs as it is.
set -e
case "${1:-}" in
  -*) set -- haproxy "$@" ;;
esac
if [ "$1" = haproxy ]; then
  shift
  set -- haproxy -W -db "$@"
fi
exec "$@"
