# shellcheck shell=sh
# Prints what is registered at this host's Consul, from the files that Consul keeps: one line of JSON for each service and
# for each check. They are there while Consul is stopped, and unlike Consul's API they have the definition of a check.
# Arguments: Consul's folder of data, and that of its configuration, in which services may be defined as well.
set -eu
data=$1 config=$2

registered='
  if .ChkType then {id: .Check.ServiceID, name: .Check.ServiceName, http: .ChkType.HTTP, program: (.ChkType.ScriptArgs | length > 0)}
  else {id: .Service.ID, name: .Service.Service} end'

# Consul takes a key in any case.
defined='
  def lower: walk(if type == "object" then with_entries(.key |= ascii_downcase) else . end);
  lower | .service, .services[]? | select(type == "object") | {id: (.id // .name), name}
    + (null, (.check, .checks[]? | select(type == "object") | {http, program: ((.args // .scriptargs // .script_args) | length > 0)}))'

# Each of these files is one line without an end. One that is cut off is not read by Consul either.
for folder in "$data/services" "$data/checks"; do
  [ ! -d "$folder" ] || find "$folder" -type f ! -name '*.tmp' -exec awk 1 {} + | jq --compact-output --raw-input "fromjson? | $registered"
done

# With a file that is no JSON Consul does not start.
[ ! -d "$config" ] || find "$config" -maxdepth 1 -name '*.json' -exec jq --compact-output "$defined" {} \;
