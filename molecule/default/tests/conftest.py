"""What the tests share: the host, the playbook, nodes, slots and wallets."""

import csv
import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import testinfra

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared"))
import playbook
from playbook import REPOSITORY, wait_for

HOST = os.environ.get("IRI_LB_HOST", "iri-lb-molecule")
MANAGEMENT_TOKEN = "/etc/consul/consul_master_token"


@pytest.fixture(scope="session")
def host():
    """The host, through Docker directly: much faster than through Ansible."""
    return testinfra.get_host(f"docker://{HOST}")


@pytest.fixture(scope="session")
def lb(host):
    return LoadBalancer(host)


@pytest.fixture(scope="session")
def play():
    return playbook.run_playbook


def changed(run):
    """How many tasks changed something on the host."""
    return playbook.changed(run, HOST)


def reachable(port):
    """Whether the host accepts connections to the port from outside."""
    address = subprocess.run(
        ["docker", "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", HOST],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    try:
        socket.create_connection((address, port), timeout=3).close()
    except OSError:
        return False
    return True


class LoadBalancer:
    """What an operator and a wallet can do on the host."""

    def __init__(self, host):
        self.host = host

    def sh(self, command):
        """Runs a command in bash; it must succeed."""
        run = self.host.run("bash -c %s", command)
        assert run.rc == 0, f"{command}: exit code {run.rc}\n{run.stdout}{run.stderr}"
        return run.stdout.strip()

    def operator(self, command):
        """Runs a documented command, with the token exported as documented."""
        return self.sh(f"cd /root && export CONSUL_HTTP_TOKEN=$(cat {MANAGEMENT_TOKEN}) && {command}")

    def start_node(self, name, address, *flags):
        self.sh(f"systemd-run --quiet --collect --unit fake-{name} iri-fake-node -listen {address}:14265 -name {name} {' '.join(flags)}")
        wait_for(f"{name} listens", lambda: self.host.run(f"curl -s -o /dev/null http://{address}:14265/").rc == 0)

    def node_state(self, address, **state):
        self.sh(f"curl -sf -o /dev/null -X PUT -d '{json.dumps(state)}' http://{address}:14265/_fake/state")

    def register(self, address, tags=(), flags=(), scheme="http"):
        """Registers a node with the documented command; its ID is address:port."""
        check = ["/scripts/iri-node-check", "-a", f"{scheme}://{address}:14265", "-i", *flags]
        service = {
            "ID": f"{address}:14265", "Name": "iri", "Address": address, "Port": 14265, "Tags": list(tags),
            "Check": {"Args": check, "Interval": "1s", "Timeout": "5s"},
        }  # fmt: skip
        self.sh(f"cat > /root/service.json <<'EOF'\n{json.dumps(service)}\nEOF")
        self.operator('curl -sS --fail-with-body -H "X-Consul-Token: $CONSUL_HTTP_TOKEN" -X PUT -d@service.json '
                      "http://localhost:8500/v1/agent/service/register")  # fmt: skip

    def register_http(self, address, tags=(), query=""):
        """Registers a node with a check that the resident service answers."""
        service = {
            "ID": f"{address}:14265", "Name": "iri", "Address": address, "Port": 14265, "Tags": list(tags),
            "Check": {"HTTP": f"http://127.0.0.1:9295/check?address=http://{address}:14265&skip-limited=true{query}",
                      "Interval": "1s", "Timeout": "10s"},
        }  # fmt: skip
        self.sh(f"cat > /root/service.json <<'EOF'\n{json.dumps(service)}\nEOF")
        self.operator('curl -sS --fail-with-body -H "X-Consul-Token: $CONSUL_HTTP_TOKEN" -X PUT -d@service.json '
                      "http://localhost:8500/v1/agent/service/register?replace-existing-checks=true")  # fmt: skip

    def deregister(self, node):
        self.operator('curl -sS --fail-with-body -H "X-Consul-Token: $CONSUL_HTTP_TOKEN" -X PUT '
                      f"http://localhost:8500/v1/agent/service/deregister/{node}")  # fmt: skip

    def runtime(self, command):
        return self.sh(f'echo "{command}" | socat stdio tcp4-connect:127.0.0.1:9999')

    def slots(self):
        """The slots in use: {(backend, address): {kind, up, weight, maxconn}}."""
        limits = {(row["# pxname"], row["svname"]): int(row["slim"] or 0) for row in csv.DictReader(io.StringIO(self.runtime("show stat")))}
        lines = self.runtime("show servers state").splitlines()
        names = lines[1].removeprefix("# ").split()
        slots = {}
        for line in lines[2:]:
            row = dict(zip(names, line.split()))
            out_of_service = int(row["srv_admin_state"]) & 0x09  # forced maintenance or drain
            if row["srv_port"] == "14265" and not out_of_service & 0x01:
                slots[row["be_name"], row["srv_addr"]] = {
                    "kind": row["srv_name"].rstrip("0123456789"), "up": row["srv_op_state"] in ("1", "2") and not out_of_service,  # 1: it starts slowly
                    "weight": int(row["srv_uweight"]), "maxconn": limits[row["be_name"], row["srv_name"]],
                }  # fmt: skip
        return slots

    def slot(self, address, backend="iri_back"):
        return self.slots().get((backend, address))

    def wait_up(self, address, backend="iri_back", seconds=20):
        return wait_for(f"{address} is up in {backend}", lambda: (self.slot(address, backend) or {}).get("up"), seconds)

    def wait_down(self, address, backend="iri_back", seconds=20):
        wait_for(f"{address} is not up in {backend}", lambda: not (self.slot(address, backend) or {}).get("up"), seconds)

    def wallet(self, command, options="", address="127.0.0.1"):
        """Sends a command as a wallet does; returns the status and the name of the node that answered, or ""."""
        out = self.sh("curl -sk -o /dev/null -w '%{http_code} %header{x-fake-node}' -H 'X-IOTA-API-Version: 1' "
                      f"{options} -d '{{\"command\": \"{command}\"}}' https://{address}:14267/")  # fmt: skip
        status, _, node = out.partition(" ")
        return int(status), node
