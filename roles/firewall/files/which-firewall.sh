# shellcheck shell=sh
# Prints the firewall of this host and whether it is on: the active one, else $1 if it is installed, else any that is
# installed, else nothing.
export LC_ALL=C
if [ "$(firewall-cmd --state 2>&1)" = running ]; then
  echo firewalld on
elif ufw status 2>/dev/null | grep -q '^Status: active'; then
  echo ufw on
else
  for tool in $1 firewalld ufw; do
    command -v "$(echo "$tool" | sed s/^firewalld$/firewall-offline-cmd/)" >/dev/null && echo "$tool off" && break
  done
fi
exit 0
