# shellcheck shell=sh
# Prints those of its arguments (kind:name) that the unit $1 has not read: files that were written after its process
# started, and an image that is not the one of the container with the unit's name. Changes nothing.
unit=$1
shift
pid=$(systemctl show --property MainPID --value "$unit")
[ "${pid:-0}" != 0 ] && stat=$(cat "/proc/$pid/stat" 2>/dev/null) || exit 0

# When the process started: field 22 of proc(5), after the name, which may contain spaces.
now=$(date +%s.%N)
started=$(echo "$now $(cut -d' ' -f1 /proc/uptime) ${stat##*) } $(getconf CLK_TCK)" | awk '{ printf "%.2f", $1 - $2 + $22 / $NF }')

for item in "$@"; do
  name=${item#*:}
  case $item in
    # A file from the future would be newer than every process.
    path:*) stat --format %.Y "$name" 2>/dev/null | awk -v "started=$started" -v "now=$now" '$1 > started && $1 <= now { found = 1 } END { exit !found }' ;;
    image:*) [ "$(docker container inspect --format '{{.Image}}' "${unit%.service}" 2>&1)" != "$(docker image inspect --format '{{.Id}}' "$name" 2>&1)" ] ;;
  esac && echo "$item"
done
exit 0
