# shellcheck shell=sh
# Fails unless HAProxy runs what is installed: the configuration $1, of which $2 is the copy that it has loaded, the certificate
# $3, and a container of the image $4 whose label $5 is $6. Changes nothing.
cmp -s "$1" "$2" || exit 1
[ -z "$(find "$3" -newer "$2" ! -newermt now 2>/dev/null)" ] || exit 1
[ "$(systemctl show --property NeedDaemonReload --value haproxy.service)" = no ] || exit 1
image=$(docker image inspect --format '{{.Id}}' "$4" 2>/dev/null)
[ "$(docker container inspect --format "{{.Image}} {{index .Config.Labels \"$5\"}}" haproxy 2>/dev/null)" = "$image $6" ]
