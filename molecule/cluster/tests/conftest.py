"""What the tests share: three hosts, the playbook, and wallets at the virtual address."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared"))
import playbook
from playbook import REPOSITORY, changed

ADDRESSES = {f"iri-lb-cluster-{i}": f"172.31.77.3{i}" for i in (1, 2, 3)}
HOSTS = tuple(ADDRESSES)
VIRTUAL = "172.31.77.40"
TOKEN = "/etc/consul/consul_master_token"


@pytest.fixture(scope="session")
def cluster():
    return Cluster()


@pytest.fixture(scope="session")
def play():
    return playbook.run_playbook


def wait_for(what, condition, seconds=60):
    """Three hosts are slower than one."""
    return playbook.wait_for(what, condition, seconds)


class Cluster:
    """What an operator can do on the hosts, and a wallet from outside."""

    def docker(self, *arguments):
        return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=120)

    def try_sh(self, host, command):
        return self.docker("exec", host, "bash", "-c", command)

    def sh(self, host, command):
        """Runs a command in bash on a host; it must succeed."""
        run = self.try_sh(host, command)
        assert run.returncode == 0, f"{host}: {command}: exit code {run.returncode}\n{run.stdout}{run.stderr}"
        return run.stdout.strip()

    def create(self, host):
        """A new host of that name and address, with the fake node on it."""
        subprocess.run([REPOSITORY / "tools/host.sh", "start", host, ADDRESSES[host]], check=True, timeout=180)
        assert self.docker("cp", f"{REPOSITORY}/build/iri-fake-node", f"{host}:/usr/local/bin/iri-fake-node").returncode == 0

    def remove(self, host):
        subprocess.run([REPOSITORY / "tools/host.sh", "remove", host], check=True, timeout=60)

    def api(self, host, path, options=""):
        return self.sh(host, f'curl -sS -H "X-Consul-Token: $(cat {TOKEN})" {options} http://localhost:8500/v1/{path}')

    def healthy(self, host):
        """Whether every server is healthy, as autopilot sees it."""
        run = self.try_sh(host, f'curl -sS -H "X-Consul-Token: $(cat {TOKEN})" http://localhost:8500/v1/operator/autopilot/health')
        try:
            return json.loads(run.stdout)["Healthy"]
        except (ValueError, KeyError):
            return False

    def agent_state(self, host, agent):
        """What a host's Consul says about the agent on another one: passing, critical, or nothing without a leader."""
        try:
            checks = json.loads(self.api(host, f"health/node/{agent}"))
        except ValueError:
            return ""
        return next((check["Status"] for check in checks if check["CheckID"] == "serfHealth"), "")

    def catalog_id(self, host):
        """The ID of the agent that has the host's name in Consul's catalog."""
        return json.loads(self.api(host, f"catalog/node/{host}"))["Node"]["ID"]

    def secrets(self, host):
        return self.sh(host, "cd /etc/consul && sha256sum consul_master_token consul_agent_token consul_handler_token consul_key ca.pem")

    def start_node(self, host, name):
        self.sh(host, f"systemd-run --quiet --collect --unit fake-{name} iri-fake-node -listen 0.0.0.0:14265 -name {name}")

    def register(self, host, address, **more):
        """Registers a node at the agent of a host with the documented command."""
        service = {
            "ID": f"{address}:14265", "Name": "iri", "Address": address, "Port": 14265,
            "Check": {"Args": ["/scripts/iri-node-check", "-a", f"http://{address}:14265", "-i"], "Interval": "1s", "Timeout": "5s"},
        } | more  # fmt: skip
        self.api(host, "agent/service/register", f"--fail-with-body -X PUT -d '{json.dumps(service)}'")

    def up(self, host):
        """The addresses that are in service at a host's HAProxy."""
        out = self.sh(host, "echo 'show servers state iri_back' | socat stdio tcp4-connect:127.0.0.1:9999")
        rows = [line.split() for line in out.splitlines()[2:] if line]
        # State 1 starts slowly, 2 is up; 0x09: forced maintenance or drain.
        return {row[4] for row in rows if row[5] in ("1", "2") and not int(row[6]) & 0x09 and row[4] != "127.0.0.1"}

    def haproxy(self, host, command):
        """What HAProxy's runtime API answers."""
        return self.sh(host, f"echo '{command}' | socat stdio unix-connect:/run/haproxy/admin.sock")

    def handler(self, host, command):
        return self.sh(host, f"CONSUL_HTTP_TOKEN=$(cat {TOKEN}) iri-lb-handler {command}")

    def owners(self):
        """The hosts that have the virtual address."""
        return [host for host in HOSTS if f" {VIRTUAL}/" in self.try_sh(host, "ip -4 -br address").stdout]

    def wallet(self, address=VIRTUAL):
        """Sends a request as a wallet does; returns the status and the name of the node that answered."""
        run = subprocess.run(
            ["curl", "-sk", "-m", "5", "-o", "/dev/null", "-w", "%{http_code} %header{x-fake-node}", "-H", "X-IOTA-API-Version: 1",
             "-d", '{"command": "getNodeInfo"}', f"https://{address}:14267/"], capture_output=True, text=True)  # fmt: skip
        status, _, node = run.stdout.partition(" ")
        return int(status or 0), node


class Wallets:
    """A wallet that sends requests one after the other. For each, seen has a + if the node answered, else a -."""

    def __init__(self, cluster):
        self.cluster, self.seen, self.done = cluster, "", threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.done.is_set():
            self.seen += "+" if self.cluster.wallet() == (200, "node") else "-"
            time.sleep(0.05)  # the hosts need the processor, too

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()

    def wait_answers(self):
        seen = len(self.seen)
        wait_for("answers to the wallet", lambda: self.seen.count("+", seen) > 20)
