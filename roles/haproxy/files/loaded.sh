# shellcheck shell=sh
# Fails unless HAProxy runs what is installed: the configuration $1, of which $2 is the copy that it has loaded; a
# container of the image $3 whose label $4 is $5; and the certificates in the other arguments. Changes nothing.
loaded=$2
cmp -s "$1" "$loaded" || exit 1
[ "$(systemctl show --property NeedDaemonReload --value haproxy.service)" = no ] || exit 1
image=$(docker image inspect --format '{{.Id}}' "$3" 2>/dev/null)
[ "$(docker container inspect --format "{{.Image}} {{index .Config.Labels \"$4\"}}" haproxy 2>/dev/null)" = "$image $5" ] || exit 1
shift 5
[ -z "$(find "$@" -newer "$loaded" ! -newermt now 2>/dev/null)" ]
