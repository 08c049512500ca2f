"""Stop, start, restart, reload, crashes, a reboot. Uses the nodes one, two and pow that test_20_nodes.py registered."""

import json
import subprocess
import time

import pytest

from conftest import HOST, wait_for

FLOOD = """
for i in $(seq 8); do (
  while [ ! -e /tmp/enough ]; do
    curl -sk --max-time 10 -o /dev/null -w '%{http_code}\\n' -H 'X-IOTA-API-Version: 1' -d '{"command": "getNodeInfo"}' https://127.0.0.1:14267/
  done ) & done; wait
"""


def slots_of_test_20(lb):
    return {key for key, slot in lb.slots().items() if slot["up"]} == {
        ("iri_back", "127.0.0.11"), ("iri_back", "127.0.0.12"), ("iri_back", "127.0.0.13"), ("iri_pow_back", "127.0.0.13"),
    }  # fmt: skip


def wait_for_all(lb, seconds=30):
    wait_for("all nodes in service", lambda: lb.host.run("systemctl is-active haproxy").rc == 0 and slots_of_test_20(lb), seconds)


def timed(lb, command, limit):
    began = time.monotonic()
    lb.sh(command)
    assert time.monotonic() - began < limit, f"{command} took longer than {limit} s"


def test_reload_under_traffic_loses_no_request_and_no_slot(lb):
    wait_for_all(lb)
    before = lb.slots()
    lb.sh("rm -f /tmp/enough /tmp/flood; cat > /tmp/flood.sh <<'EOF'" + FLOOD + "EOF")
    lb.sh("systemd-run --quiet --collect --unit flood --property StandardOutput=append:/tmp/flood bash /tmp/flood.sh")
    wait_for("traffic", lambda: lb.host.run("test -s /tmp/flood").rc == 0)
    for _ in range(3):
        timed(lb, "systemctl reload haproxy", 10)
    # So many have to be sent, however slow the machine is.
    wait_for("50 requests", lambda: int(lb.sh("wc -l < /tmp/flood")) >= 50, 60)
    lb.sh("touch /tmp/enough")
    wait_for("the end of the traffic", lambda: lb.host.run("systemctl is-active flood").rc != 0)
    codes = lb.sh("sort /tmp/flood | uniq -c").split()
    assert codes[1::2] == ["200"], codes
    assert lb.slots() == before  # with weight and maxconn


@pytest.mark.parametrize("verb, unit", [("reload", "consul"), ("restart", "consul"), ("restart", "haproxy"), ("restart", "iri-lb-handler")])
def test_nodes_stay_in_service_after(lb, verb, unit):
    timed(lb, f"systemctl {verb} {unit}", 20)
    wait_for_all(lb)
    assert lb.wallet("getNodeInfo")[0] == 200


def test_haproxy_serves_while_consul_is_away_and_is_filled_from_the_disk(lb):
    wait_for_all(lb)
    timed(lb, "systemctl stop consul", 20)
    try:
        assert lb.sh("systemctl show consul -p Result --value") == "success"
        assert lb.wallet("getNodeInfo")[0] == 200
        assert lb.sh("stat -c '%a %U' /var/lib/iri-lb-handler/nodes.json") == "600 iri-lb-handler"
        lb.sh("systemctl stop iri-lb-handler")
        timed(lb, "systemctl restart haproxy", 20)  # its unit fills it
        wait_for_all(lb, 5)
        assert lb.wallet("getNodeInfo")[0] == 200
        lb.sh("systemctl start iri-lb-handler")
        wait_for("the list in use", lambda: "the last list on the disk" in lb.sh("curl -s http://127.0.0.1:9294/readyz"))
        wait_for_all(lb, 5)
    finally:
        lb.sh("systemctl start consul iri-lb-handler")
    wait_for_all(lb)


@pytest.mark.parametrize("name", ["consul", "haproxy"])
def test_a_killed_container_comes_back(lb, name):
    lb.sh(f"docker kill --signal KILL {name}")
    wait_for(f"a new {name}", lambda: lb.host.run(f"docker inspect {name}").rc == 0)
    wait_for_all(lb)


def test_stop_and_start_of_haproxy(lb):
    timed(lb, "systemctl stop haproxy", 15)
    assert lb.sh("systemctl show haproxy -p Result --value") == "success"
    assert lb.host.run("docker inspect haproxy").rc != 0
    timed(lb, "systemctl start haproxy", 15)
    wait_for_all(lb)


def test_everything_comes_back_after_a_restart_of_docker(lb):
    lb.sh("systemctl restart docker")
    wait_for_all(lb, 60)


def test_the_journal_has_each_request_once_with_a_level(lb):
    marker = f"marker-{time.time_ns()}"
    lb.sh(f"curl -sk -o /dev/null -H 'X-IOTA-API-Version: 1' -d '{{\"command\": \"{marker}\", \"seed\": \"SECRET9SEED\"}}' https://127.0.0.1:14267/")
    lines = wait_for("the request", lambda: lb.host.run(f"journalctl -u haproxy -o cat -p info --grep {marker}").stdout.strip()).splitlines()
    assert len(lines) == 1, lines
    entry = json.loads(lines[0])
    assert (entry["client"], entry["command"], entry["pool"], entry["status"]) == ("127.0.0.1", marker, "iri_back", 400), entry
    assert "SECRET9SEED" not in lines[0]


def test_everything_comes_back_after_a_reboot(lb):
    subprocess.run(["docker", "restart", HOST], check=True, capture_output=True, timeout=120)
    wait_for("the boot", lambda: lb.host.run("systemctl is-system-running").stdout.strip() in ("running", "degraded"), 90)
    for unit in ("consul", "haproxy", "iri-lb-handler"):
        wait_for(f"{unit} runs", lambda u=unit: lb.host.run(f"systemctl is-active {u}").rc == 0, 60)
    # The fake nodes are not units of the host, so they are started again; Consul then finds that they pass.
    lb.start_node("one", "127.0.0.11")
    lb.start_node("two", "127.0.0.12")
    lb.start_node("pow", "127.0.0.13", "-pow")
    wait_for_all(lb, 60)
