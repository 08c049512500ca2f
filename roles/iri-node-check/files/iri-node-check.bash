# shellcheck shell=bash
# Completes iri-node-check's flags in bash.

_iri_node_check() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} flags
  local files='--ca-file --cert-file --key-file --user-file'
  COMPREPLY=()
  case $previous in
    --ca-file | --cert-file | --key-file | --user-file | --token-file | --state-file)
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      return
      ;;
    --at-snapshot)
      mapfile -t COMPREPLY < <(compgen -W 'passing warning critical' -- "$current")
      return
      ;;
    --log-level)
      mapfile -t COMPREPLY < <(compgen -W 'trace debug info warn error' -- "$current")
      return
      ;;
    -r | --app-name)
      mapfile -t COMPREPLY < <(compgen -W 'IRI HORNET HORNET-legacy' -- "$current")
      return
      ;;
    -a | --address)
      # The colon of http:// would begin a new word.
      [[ $current == http* ]] || mapfile -t COMPREPLY < <(compgen -W 'http:// https://' -- "$current")
      return
      ;;
    -t | -n | -m | -w | --timeout | --min-neighbours | --min-version | --max-answer | --max-behind | --warn-behind | \
      --warn-neighbours | --warn-answer | --server-name | --listen | --consul | --service | --at-once)
      return
      ;;
  esac
  if [[ ${COMP_WORDS[1]} == serve ]] && ((COMP_CWORD > 1)); then
    flags="--listen --consul --token-file --service --state-file --at-once --log-level --help $files"
  else
    flags="--address --timeout --skip-verify --server-name --min-neighbours --min-version --app-name --max-answer --pow --max-behind
      --skip-limited --warn-behind --warn-neighbours --warn-answer --at-snapshot --explain --json --version --help $files"
    ((COMP_CWORD > 1)) || flags="serve $flags"
  fi
  mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$current")
}

complete -F _iri_node_check iri-node-check
