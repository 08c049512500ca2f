# shellcheck shell=sh
# Prints those of its arguments (kind:name) that exist on this host; used:PATH if it is not an empty folder. Changes nothing.
for item in "$@"; do
  name=${item#*:}
  case $item in
    path:*) [ -e "$name" ] || [ -L "$name" ] ;;
    used:*) [ -e "$name" ] && { [ ! -d "$name" ] || find "$name/" -mindepth 1 -maxdepth 1 ! -name lost+found | grep -q .; } ;;
    user:*) getent passwd "$name" ;;
    group:*) getent group "$name" ;;
    image:*) docker image inspect "$name" ;;
    container:*) docker container inspect "$name" ;;
  esac >/dev/null 2>&1 && echo "$item"
done
exit 0
