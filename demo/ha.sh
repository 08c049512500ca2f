#!/usr/bin/env bash
# Shows that any host may die: three throwaway hosts with a virtual address, ten nodes, and a wallet while the host with the
# address is killed. Each step is checked: the exit code is 0 only if everything that the demo announces did happen. The hosts
# are left running for a look around. Run it with `make demo-ha`, which builds the programs and gets the images first.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."
# shellcheck source=tools/lib.sh
. tools/lib.sh
# shellcheck source=demo/lib.sh
. demo/lib.sh

# shellcheck disable=SC2034 # demo/lib.sh uses it
STEPS=8
HOSTS=(iri-lb-demo-1 iri-lb-demo-2 iri-lb-demo-3)
NODE_HOST=iri-lb-demo-nodes
NODES=10
VIRTUAL=172.31.77.99
REQUESTS=build/demo-ha-requests.log

# host_address HOST, node_address NUMBER: both are on the network that tools/host.sh makes.
host_address() { echo "172.31.77.9${1##*-}"; }
node_address() { echo "172.31.77.$((100 + $1))"; }

make_hosts() {
  step "Three fresh hosts: containers with systemd and their own Docker"
  local host pid pids=()
  for host in "${HOSTS[@]}"; do
    tools/host.sh remove "$host"
    tools/host.sh start "$host" "$(host_address "$host")" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid"; done
  for host in "${HOSTS[@]}"; do show "$host has the address $(host_address "$host")"; done
}

run_playbook() {
  step "The playbook installs a load balancer on each, and a virtual address for all"
  play demo/ha-inventory.yml -e keepalived_enabled=true -e "{keepalived_addresses: [$VIRTUAL/24]}" -e keepalived_router_id=70
}

# Where the nodes are, no host of the three is.
start_nodes() {
  step "Ten fake IRI nodes, on none of these hosts"
  tools/host.sh remove "$NODE_HOST"
  tools/host.sh start "$NODE_HOST" 172.31.77.90
  HOST=$NODE_HOST
  docker cp build/iri-fake-node "$HOST:/usr/local/bin/iri-fake-node" >/dev/null 2>&1
  # shellcheck disable=SC2016 # the shell on the host expands this
  on_host bash -c '
    for ((i = 1; i <= $1; i++)); do
      ip address add "172.31.77.$((100 + i))/24" dev eth0
      systemd-run --quiet --unit "iri-node-$i" iri-fake-node -listen "172.31.77.$((100 + i)):14265" -name "node-$i"
    done' nodes "$NODES"
  show "$(node_address 1) to $(node_address "$NODES")"
}

# register NUMBER: at the agent of one host, in turn.
register() {
  local address service
  address=$(node_address "$1")
  HOST=${HOSTS[$1 % 3]}
  service=$(jq -nc --arg address "$address" '{ID: "\($address):14265", Name: "iri", Address: $address, Port: 14265,
    Check: {Args: ["/scripts/iri-node-check", "-a", "http://\($address):14265", "-i"], Interval: "5s", Timeout: "5s"}}')
  # shellcheck disable=SC2016 # the shell on the host expands this
  on_host bash -c 'curl --silent --show-error --fail-with-body --header "X-Consul-Token: $(cat /etc/consul/consul_master_token)" \
    --request PUT --data "$1" http://localhost:8500/v1/agent/service/register' register "$service" ||
    unseen "Consul accepting the request for node-$1"
  show "node-$1 at $HOST"
}

register_nodes() {
  step "The nodes are registered, each at one of the hosts"
  local i
  for ((i = 1; i <= NODES; i++)); do register "$i"; done
  for HOST in "${HOSTS[@]}"; do wait_for 30 "$HOST serves all ten" serves_all; done
}

# serves_all: every node is in service, in one slot, on the host HOST.
serves_all() {
  local addresses
  addresses=$(slots 2>/dev/null | awk -F '|' '$1 == "iri_back" && $4 == "in service" { print $3 }') || return 1
  [[ $(sort -u <<<"$addresses" | wc -l) == "$NODES" && $(wc -l <<<"$addresses") == "$NODES" ]]
}

# owner: the hosts that have the virtual address.
owner() {
  for HOST in "${HOSTS[@]}"; do
    on_host ip -brief address 2>/dev/null | grep -qF " $VIRTUAL/" && echo "$HOST"
  done
  true
}

one_owner() { [[ $(owner | wc -l) == 1 ]]; }

# wallet_runs: sends requests to the virtual address without a break, each on its own connection, and prints for each when it
# ended, in ms, and which node answered.
wallet_runs() {
  HOST=$NODE_HOST
  # shellcheck disable=SC2016 # the shell on the host expands this
  on_host timeout 120 bash -c '
    until [[ -e /tmp/stop ]]; do
      node=$(curl --silent --insecure --connect-timeout 0.2 --max-time 1 --output /dev/null --write-out "%header{x-fake-node}" \
        --header "X-IOTA-API-Version: 1" --data "{\"command\": \"getNodeInfo\"}" "https://$1:14267/")
      echo "$(date +%s%3N) ${node:-none}"
      sleep 0.03
    done' wallet "$VIRTUAL"
}

answers() { awk '$2 != "none"' "$REQUESTS" | wc -l; }

more_answers() { (($(answers) > $1)); }

start_wallet() {
  step "A wallet sends requests to $VIRTUAL without a break"
  one_owner || unseen "one host with the address $VIRTUAL"
  show "$(owner) has the address"
  : >"$REQUESTS"
  wallet_runs >"$REQUESTS" &
  wallet_pid=$!
  wait_for 20 "50 answers" more_answers 50
}

kill_owner() {
  victim=$(owner)
  step "$victim, which has the address, is killed"
  docker kill "$victim" >/dev/null
  wait_for 10 "another host has the address" one_owner
  show "$(owner) has it"
  wait_for 20 "100 more answers" more_answers $(($(answers) + 100))
}

# notices_death: the hosts that are left know that the host has died.
notices_death() {
  # shellcheck disable=SC2016 # the shell on the host expands this
  on_host bash -c 'curl --silent --header "X-Consul-Token: $(cat /etc/consul/consul_master_token)" "http://localhost:8500/v1/health/node/$1"' \
    health "$victim" | jq --exit-status '.[] | select(.CheckID == "serfHealth" and .Status == "critical")' >/dev/null
}

keep_nodes() {
  step "Its nodes stay in service"
  local left
  left=$(owner)
  HOST=$left
  wait_for 30 "Consul has noticed the death of $victim" notices_death
  for HOST in "${HOSTS[@]}"; do
    [[ $HOST == "$victim" ]] || serves_all || unseen "all ten nodes in service on $HOST" "docker exec $HOST iri-lb-handler status"
  done
  HOST=$left
  show_slots
}

return_host() {
  local holder
  holder=$(owner)
  step "$victim returns; the address stays at $holder"
  docker start "$victim" >/dev/null
  HOST=$victim
  wait_for 60 "$victim serves all ten" serves_all
  [[ $(owner) == "$holder" ]] || unseen "the address at $holder"
  HOST=$NODE_HOST
  on_host touch /tmp/stop
  wait "$wallet_pid"
  sum_up
}

# sum_up: what the wallet has noticed. All failures have to be in the one gap.
sum_up() {
  local failed gap breaks
  failed=$(($(wc -l <"$REQUESTS") - $(answers)))
  gap=$(awk '$2 != "none" { if (last && $1 - last > longest) longest = $1 - last; last = $1 } END { print longest }' "$REQUESTS")
  breaks=$(awk '$2 == "none" && before != "none" { n++ } { before = $2 } END { print n + 0 }' "$REQUESTS")
  show "the wallet: $(answers) requests answered, $failed failed; the longest time without an answer was $gap ms"
  ((breaks <= 1)) || unseen "failures in one gap only (there are $breaks)" "$REQUESTS"
}

print_look_around() {
  cat <<EOF

All $STEPS steps succeeded. The hosts are still running. Look around:

  docker exec iri-lb-demo-1 iri-lb-handler status
  docker exec iri-lb-demo-1 sh -c 'docker exec -e CONSUL_HTTP_TOKEN=\$(cat /etc/consul/consul_master_token) consul consul operator raft list-peers'
  docker exec iri-lb-demo-1 journalctl -u keepalived

  # a request from a wallet
  curl -k -H 'X-IOTA-API-Version: 1' -d '{"command": "getNodeInfo"}' https://$VIRTUAL:14267/

  # kill another one
  docker kill iri-lb-demo-2; docker start iri-lb-demo-2

Remove them with: make demo-clean
EOF
}

need jq jq
mkdir -p build
make_hosts
run_playbook
start_nodes
register_nodes
start_wallet
kill_owner
keep_nodes
return_host
print_look_around
