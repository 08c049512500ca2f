# shellcheck shell=bash
# Functions of both demos: printing, waiting, the playbook, and querying a host. Source it after tools/lib.sh.

# The host that on_host, haproxy_says and slots ask.
HOST=iri-lb-demo

# --- printing ----------------------------------------------------------------------------------------------

step_number=0

step() {
  step_number=$((step_number + 1))
  printf '\n[%d/%d] %s\n' "$step_number" "$STEPS" "$*"
}

show() { printf '      %s\n' "$*"; }

# clear_line: clears the progress line on a terminal.
clear_line() { [[ ! -t 1 ]] || printf '\r\033[K'; }

# indent: indents the output of a command.
indent() { sed 's/^/      /'; }

# unseen WHAT [WHERE-TO-LOOK]: ends the demo because something expected did not happen.
unseen() {
  printf '\nexpected, but not seen: %s\n' "$1" >&2
  printf 'look at: %s\n' "${2:-docker exec $HOST journalctl -u iri-lb-handler -u consul -u haproxy -n 50}" >&2
  printf 'What the demo has made is left as it is. Remove it with: make demo-clean\n' >&2
  exit 1
}

# --- waiting ------------------------------------------------------------------------------------------------------

# wait_for SECONDS WHAT COMMAND…: waits until COMMAND succeeds, and ends the demo if it does not in time.
wait_for() {
  local seconds=$1 what=$2 started deadline
  shift 2
  started=$(now_ms)
  deadline=$((started + seconds * 1000))
  until "$@"; do
    (($(now_ms) < deadline)) || unseen "$what within $seconds s"
    sleep 0.2
  done
  show "$(printf '%s: yes, after %d.%d s' "$what" $((($(now_ms) - started) / 1000)) $((($(now_ms) - started) % 1000 / 100)))"
}

now_ms() { date +%s%3N; }

# --- the playbook --------------------------------------------------------------------------------------------------

PLAYBOOK_LOG=build/demo-playbook.log

# play INVENTORY ARGUMENT…: runs the playbook.
play() {
  local inventory=$1
  shift
  local command=(ansible-playbook -i "$inventory" -v site.yml "$@"
    -e "haproxy_image_archive=$CACHE/images/haproxy-3.0.tar" -e "consul_image_archive=$CACHE/images/consul-1.22.0.tar")
  show "${command[*]}"
  show "output in $PLAYBOOK_LOG"
  local venv
  venv=$(tools/venv.sh)
  PATH="$venv/bin:$PATH" LC_ALL=C.UTF-8 "${command[@]}" >"$PLAYBOOK_LOG" 2>&1 &
  follow_playbook $! || {
    tail -n 30 "$PLAYBOOK_LOG" >&2
    unseen "the playbook finishing without a failure" "$PLAYBOOK_LOG"
  }
  sed -n '/^PLAY RECAP/,$p' "$PLAYBOOK_LOG" | grep -v '^ *$' | indent
}

# follow_playbook PID: shows what the playbook is doing until it ends, and returns its exit code. On a terminal one line
# follows the tasks; elsewhere only the plays are shown.
follow_playbook() {
  local pid=$1 play='' newest task
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.5
    newest=$(last_title PLAY)
    if [[ $newest != "$play" ]]; then
      play=$newest
      clear_line
      show "· $play"
    fi
    if [[ -t 1 ]]; then
      task=$(last_title TASK)
      clear_line
      printf '        %.90s' "$task"
    fi
  done
  clear_line
  wait "$pid"
}

# last_title PLAY|TASK: the most recent one in the playbook's output.
last_title() { sed -n "s/^$1 \\[\\(.*\\)\\] \\**\$/\\1/p" "$PLAYBOOK_LOG" | tail -n 1; }

# --- the host -----------------------------------------------------------------------------------------------------

on_host() { docker exec "$HOST" "$@"; }

# haproxy_says COMMAND: HAProxy's answer to a command of its runtime API.
haproxy_says() { docker exec --interactive "$HOST" socat - unix-connect:/run/haproxy/admin.sock <<<"$1"; }

# slots: one line for each slot in use: backend, slot, address, state, weight, maxconn. A free slot has port 1.
slots() {
  haproxy_says 'show stat' | awk -F, '
    NR == 1 { sub(/^# /, ""); for (i = 1; i <= NF; i++) col[$i] = i; next }
    $col["svname"] !~ /^https?(-noverify)?[0-9]+$/ || $col["addr"] ~ /:1$/ { next }
    {
      state = $col["status"]
      if (state ~ /^(no check|UP)/) state = "in service"
      if (state ~ /^(MAINT|DOWN)/) state = "out of service"
      if (state ~ /^DRAIN/) state = "draining"
      maxconn = $col["slim"] == "" ? "none" : $col["slim"]
      print $col["pxname"] "|" $col["svname"] "|" $col["addr"] "|" state "|" $col["weight"] "|" maxconn
    }' | sort
}

show_slots() {
  { echo 'BACKEND|SLOT|NODE|STATE|WEIGHT|MAXCONN' && slots; } | column -t -s '|' | indent
}

# slot_is BACKEND ADDRESS STATE: the node has a slot of the backend in this state.
slot_is() { grep -q "^$1|[^|]*|$2|$3|" <<<"$(slots)"; }

# no_slot ADDRESS: the node has no slot in any pool. Fails if HAProxy does not answer.
no_slot() {
  local all
  all=$(slots) && ! grep -q "|$1|" <<<"$all"
}

# --- a wallet -----------------------------------------------------------------------------------------------------

# wallet COUNT COMMAND: sends an IRI command to HAProxy's front end that many times, each on its own connection, and
# prints which node answered each. The playbook generated the certificate, so no authority has signed it (--insecure).
wallet() {
  # shellcheck disable=SC2016 # the shell on the host expands this
  on_host bash -c '
    for ((i = 0; i < $1; i++)); do
      node=$(curl --silent --show-error --fail --insecure --max-time 10 --output /dev/null --write-out "%header{x-fake-node}" \
        --header "X-IOTA-API-Version: 1" --header "Content-Type: application/json" --data "$2" "$3") || node="no answer"
      echo "$node"
    done' wallet "$1" "$2" "$WALLET_URL"
}

# tally: counts equal lines, "4 node-1, 3 node-2".
tally() { sort | uniq -c | sed 's/^ *//' | paste -s -d ',' | sed 's/,/, /g'; }
