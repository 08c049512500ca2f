#!/usr/bin/env bash
# Shows the whole system at work, on a throwaway host with systemd and its own Docker. Each step is checked: the exit
# code is 0 only if everything that the demo announces did happen. The host is left running for a look around. Run it
# with `make demo`, which builds the programs and gets the images first.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."
# shellcheck source=tools/lib.sh
. tools/lib.sh
# shellcheck source=demo/lib.sh
. demo/lib.sh

STEPS=11
WALLET_URL=https://127.0.0.1:14267/
NODES=(node-1 node-2 node-3)

# address NODE: 127.0.0.11:14265 for node-1, and so on; all of 127.0.0.0/8 is the host itself.
address() { echo "127.0.0.1${1#node-}:14265"; }

make_host() {
  step "A fresh host: a container with systemd and its own Docker"
  if docker container inspect "$HOST" >/dev/null 2>&1; then
    show "removing the host of an earlier demo"
    tools/host.sh remove "$HOST"
  fi
  tools/host.sh start "$HOST"
  show "$HOST runs Debian $(on_host cat /etc/debian_version), Docker $(on_host docker version --format '{{.Server.Version}}')"
}

run_playbook() {
  step "The playbook installs the load balancer"
  play demo/inventory.yml
}

start_nodes() {
  step "Three fake IRI nodes on the host; node-3 allows PoW"
  docker cp build/iri-fake-node "$HOST:/usr/local/bin/iri-fake-node" >/dev/null 2>&1
  local node options
  for node in "${NODES[@]}"; do
    options=()
    [[ $node != node-3 ]] || options=(-pow)
    on_host systemd-run --quiet --unit "iri-$node" --property Restart=always \
      /usr/local/bin/iri-fake-node -listen "$(address "$node")" -name "$node" -v "${options[@]}"
  done
  for node in "${NODES[@]}"; do
    wait_for 10 "$node answers on $(address "$node")" node_answers "$node"
  done
}

node_answers() {
  on_host curl --silent --fail --output /dev/null --header 'X-IOTA-API-Version: 1' \
    --data '{"command": "getNodeInfo"}' "http://$(address "$1")/"
}

# The documented commands for operators, word for word. They run in the node's folder on the host.
# shellcheck disable=SC2016 # the shell on the host expands them
TOKEN_COMMAND='export CONSUL_HTTP_TOKEN=$(cat /etc/consul/consul_master_token)'
# shellcheck disable=SC2016
REGISTER_COMMAND='curl -H "X-Consul-Token: $CONSUL_HTTP_TOKEN" -X PUT -d@service.json http://localhost:8500/v1/agent/service/register'
# shellcheck disable=SC2016
DEREGISTER_COMMAND='curl -H "X-Consul-Token: $CONSUL_HTTP_TOKEN" -X PUT http://localhost:8500/v1/agent/service/deregister/'

# consul_command NODE COMMAND: adds --fail-with-body, because otherwise curl treats an answer such as "403 permission
# denied" as success.
consul_command() {
  on_host bash -c "cd /root/demo/$1 && $TOKEN_COMMAND && ${2/#curl /curl --silent --show-error --fail-with-body }" ||
    unseen "Consul accepting the request for $1"
}

register_nodes() {
  step "The nodes are registered in Consul"
  show "$TOKEN_COMMAND"
  show "$REGISTER_COMMAND"
  on_host mkdir -p /root/demo
  docker cp demo/nodes/. "$HOST:/root/demo/" >/dev/null 2>&1
  local node
  for node in "${NODES[@]}"; do
    consul_command "$node" "$REGISTER_COMMAND"
    show "$node: $(jq -c . "demo/nodes/$node/service.json")"
  done
  for node in "${NODES[@]}"; do
    wait_for 20 "$node passes its health check and is in the default pool" slot_is iri_back "$(address "$node")" 'in service'
  done
  wait_for 5 'node-3 is in the PoW pool too' slot_is iri_pow_back "$(address node-3)" 'in service'
}

show_pools() {
  step "The slots of both pools"
  show_slots
  local pow_nodes
  pow_nodes=$(slots | grep -c '^iri_pow_back|')
  ((pow_nodes == 1)) || unseen "exactly one node in the PoW pool (there are $pow_nodes)"
}

spread_requests() {
  step "Ten requests from a wallet: which node answers"
  local answers node
  answers=$(wallet 10 '{"command": "getNodeInfo"}')
  cat -n <<<"$answers" | sed 's/^ *\([0-9]*\)\t/request \1: /' | indent
  for node in "${NODES[@]}"; do
    grep -qx "$node" <<<"$answers" || unseen "an answer from $node"
  done
  only_nodes "$answers"
}

# only_nodes ANSWERS: every request was answered by one of the demo's nodes.
only_nodes() {
  local others
  others=$(grep -vx 'node-[123]' <<<"$1") || return 0
  unseen "an answer from a node to each request; instead: $others"
}

# fake_state NODE JSON: changes the state of a fake node.
fake_state() {
  on_host curl --silent --show-error --fail --request PUT --data "$2" --output /dev/null "http://$(address "$1")/_fake/state"
}

lose_sync() {
  step "node-1 falls five milestones behind: it leaves the pool"
  fake_state node-1 '{"behind": 5}'
  wait_for 15 'node-1 is out of service' slot_is iri_back "$(address node-1)" 'out of service'
  show_slots
  local answers
  answers=$(wallet 10 '{"command": "getNodeInfo"}')
  show "ten requests: $(tally <<<"$answers")"
  only_nodes "$answers"
  ! grep -qx node-1 <<<"$answers" || unseen "no answer from node-1 after it had left"
}

# has_answered NODE: it is among the nodes that answer ten requests.
has_answered() { grep -qx "$1" <<<"$(wallet 10 '{"command": "getNodeInfo"}')"; }

regain_sync() {
  step "node-1 catches up: it returns"
  fake_state node-1 '{"behind": 0}'
  wait_for 15 'node-1 is in service' slot_is iri_back "$(address node-1)" 'in service'
  wait_for 15 'an answer from node-1 after it had returned' has_answered node-1 # it starts slowly
  local answers
  answers=$(wallet 10 '{"command": "getNodeInfo"}')
  show "ten requests: $(tally <<<"$answers")"
  only_nodes "$answers"
}

# pow_requests: how many requests the PoW pool has had so far.
pow_requests() {
  haproxy_says 'show stat iri_pow_back 2 -1' | awk -F, '
    NR == 1 { for (i = 1; i <= NF; i++) col[$i] = i }
    $col["svname"] == "BACKEND" { print $col["req_tot"] }'
}

# attach_to_tangle: a request for proof of work for one empty transaction (2673 trytes).
attach_to_tangle() {
  local empty
  empty=$(printf '%2673s' '' | tr ' ' 9)
  printf '{"command": "attachToTangle", "trunkTransaction": "%s", "branchTransaction": "%s", "minWeightMagnitude": 14, "trytes": ["%s"]}' \
    "${empty:0:81}" "${empty:0:81}" "$empty"
}

request_pow() {
  step "PoW requests (attachToTangle) go to the PoW pool"
  local before after answers
  before=$(pow_requests)
  answers=$(wallet 3 "$(attach_to_tangle)")
  after=$(pow_requests)
  show "three requests: $(tally <<<"$answers"); requests in iri_pow_back: $before before, $after after"
  [[ $(sort -u <<<"$answers") == node-3 ]] || unseen "node-3 answering every PoW request"
  ((after == before + 3)) || unseen "three more requests in the PoW pool"
}

deregister_node() {
  step "node-2 is deregistered: its slot is free again"
  show "$DEREGISTER_COMMAND$(address node-2)"
  consul_command node-2 "$DEREGISTER_COMMAND$(address node-2)"
  wait_for 30 'node-2 no longer has a slot' no_slot "$(address node-2)"
  show_slots
}

worker_pid() { haproxy_says 'show info' | sed -n 's/^Pid: //p'; }

reload_haproxy() {
  step "systemctl reload haproxy: a new process, and every node keeps its slot"
  local before after old_worker meanwhile=build/demo-requests.log
  before=$(slots)
  old_worker=$(worker_pid)
  wallet 50 '{"command": "getNodeInfo"}' >"$meanwhile" &
  on_host systemctl reload haproxy || unseen "the reload" "docker exec $HOST journalctl -u haproxy -n 30"
  [[ $(worker_pid) != "$old_worker" ]] || unseen "a new HAProxy process after the reload"
  after=$(slots)
  show_slots
  [[ $after == "$before" ]] || unseen "the same slots as before the reload, which were: $before"
  wait $! # the requests
  show "50 requests during the reload: $(tally <"$meanwhile")"
  only_nodes "$(cat "$meanwhile")"
}

# open_statistics: the page listens on the host's loopback only, so a unit of the demo forwards to it from outside.
open_statistics() {
  address_of_host=$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$HOST")
  on_host systemd-run --quiet --unit demo-statistics \
    socat "tcp-listen:9292,bind=$address_of_host,fork,reuseaddr" tcp-connect:127.0.0.1:9292
}

print_look_around() {
  cat <<EOF

All $STEPS steps succeeded. The host $HOST is still running. Look around:

  # the services and their logs
  docker exec $HOST iri-lb-handler status
  docker exec $HOST systemctl status consul haproxy iri-lb-handler
  docker exec $HOST journalctl -u iri-lb-handler -u haproxy -u consul -f

  # the statistics page (in a browser), the same as CSV, and the handler's metrics
  http://$address_of_host:9292/
  docker exec $HOST sh -c 'echo "show stat" | socat stdio tcp4-connect:127.0.0.1:9999'
  docker exec $HOST curl -s http://127.0.0.1:9294/metrics

  # a request from a wallet
  curl -k -H 'X-IOTA-API-Version: 1' -d '{"command": "getNodeInfo"}' https://$address_of_host:14267/

  # a shell on the host; /root/demo/node-2/service.json is there to register node-2 again with the commands of step 4
  docker exec -it $HOST bash

Remove it with: make demo-clean
EOF
}

need jq jq
mkdir -p build
make_host
run_playbook
start_nodes
register_nodes
show_pools
spread_requests
lose_sync
regain_sync
request_pow
deregister_node
reload_haproxy
open_statistics
print_look_around
