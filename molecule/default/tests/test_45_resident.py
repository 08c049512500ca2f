"""iri_node_check_mode: resident, with the nodes that test_20_nodes.py registered, and back. Left installed for the uninstall test."""

import json
import time
from collections import Counter

import pytest

from conftest import changed, wait_for

RESIDENT = ("-e", "iri_node_check_mode=resident")
PROGRAMS = ("-e", "consul_enable_script_checks=true")
NODES = ("127.0.0.11", "127.0.0.12", "127.0.0.13")
TAGS = {"127.0.0.13": ["haproxy.pow=true"]}


def consul_check(lb, address):
    checks = lb.operator('curl -s -H "X-Consul-Token: $CONSUL_HTTP_TOKEN" http://localhost:8500/v1/agent/checks')
    return json.loads(checks)[f"service:{address}:14265"]


def ask(lb, query, options=""):
    """The resident service's answer: status and text."""
    out = lb.sh(f"curl -s {options} -w '\\n%{{http_code}}' 'http://127.0.0.1:9295/check?{query}'")
    text, _, status = out.rpartition("\n")
    return int(status), text


def refused(play, *arguments):
    """What a play printed that stopped before it changed anything."""
    run = play(*arguments, check=False)
    assert run.returncode != 0, run.stdout[-3000:]
    assert changed(run) == 0
    return " ".join(run.stdout.split())


def end_check(lb, address):
    """Deregisters the check alone, as documented for a change of its kind."""
    lb.operator('curl -sS --fail-with-body -H "X-Consul-Token: $CONSUL_HTTP_TOKEN" -X PUT '
                f"http://localhost:8500/v1/agent/check/deregister/service:{address}:14265")  # fmt: skip


def test_nodes_checked_by_programs_do_not_lose_their_check(play, lb):
    lb.sh("systemctl stop consul")  # what is registered is known all the same
    try:
        text = refused(play, *RESIDENT)
    finally:
        lb.sh("systemctl start consul")
    assert "would lose the checks of 127.0.0.11:14265, 127.0.0.12:14265, 127.0.0.13:14265" in text
    assert "Set consul_enable_script_checks to true" in text
    assert not lb.host.file("/etc/systemd/system/iri-node-check.service").exists
    for address in NODES:
        lb.wait_up(address, seconds=40)


def test_the_service_runs_beside_checks_that_are_programs(play, lb):
    play(*RESIDENT, *PROGRAMS)
    for unit in ("iri-node-check.service", "iri-node-check.socket"):
        assert lb.host.service(unit).is_running, lb.host.run("journalctl -u iri-node-check -n 30").stdout
        assert lb.host.service(unit).is_enabled
    assert lb.sh("ps -o user= -C iri-node-check") == "iri-node-c+" or "iri-node-check" in lb.sh("ps -o user:32= -C iri-node-check")
    assert lb.slot("127.0.0.11")["up"], "checks that are programs still work"


def test_nodes_switch_one_by_one(lb):
    for address in NODES:
        end_check(lb, address)
        lb.register_http(address, TAGS.get(address, ()))
        wait_for(f"{address} is checked by HTTP", lambda a=address: "HTTP GET" in consul_check(lb, a)["Output"])
        assert consul_check(lb, address)["Status"] == "passing"
        lb.wait_up(address)


def test_consul_then_runs_no_programs_at_all(play, lb):
    play()  # the mode is kept
    assert '"enable_script_checks": false' in lb.sh("cat /etc/consul/consul.json")
    for address in NODES:
        lb.wait_up(address)
    service = {"Name": "odd", "Check": {"Args": ["/bin/sh", "-c", "id"], "Interval": "1s"}}
    answer = lb.operator("curl -s -H \"X-Consul-Token: $CONSUL_HTTP_TOKEN\" -X PUT "
                         f"-d '{json.dumps(service)}' http://localhost:8500/v1/agent/service/register")  # fmt: skip
    assert "Scripts are disabled" in answer
    assert changed(play()) == 0


@pytest.mark.parametrize("change, expected", [
    ("iri_node_check_mode=exec", "127.0.0.11:14265, 127.0.0.12:14265, 127.0.0.13:14265 on"),
    ("iri_node_check_port=9300", "Set iri_node_check_port back to 9295"),
    ("lb_service_name=other", "lb_service_name is other, but no node is registered under that name"),
    ("consul_data_dir=/srv/consul", "Set consul_data_dir back to /var/lib/consul"),
    ("iri_node_check_mode=", "iri_node_check_mode is given as an empty value"),
])  # fmt: skip
def test_a_setting_that_would_take_nodes_out_is_refused(play, change, expected):
    assert expected in refused(play, "-e", change)


def test_a_failing_node_leaves_and_returns(lb):
    lb.node_state("127.0.0.11", behind=5)
    lb.wait_down("127.0.0.11")
    check = consul_check(lb, "127.0.0.11")
    assert check["Status"] == "critical"
    assert "CRITICAL: http://127.0.0.11:14265: not synchronised" in check["Output"]
    lb.node_state("127.0.0.11", behind=0)
    lb.wait_up("127.0.0.11")


def test_an_overloaded_node_gets_consuls_warning_state(lb):
    lb.register_http("127.0.0.12", query="&max-behind=5&warn-behind=1")
    lb.node_state("127.0.0.12", behind=3)
    wait_for("warning", lambda: consul_check(lb, "127.0.0.12")["Status"] == "warning")
    assert lb.slot("127.0.0.12")["up"]
    lb.node_state("127.0.0.12", behind=0)
    wait_for("passing", lambda: consul_check(lb, "127.0.0.12")["Status"] == "passing")


@pytest.mark.parametrize("query, status", [
    ("address=http://127.0.0.11:14265&skip-limited=true", 200),
    ("address=http://127.0.0.11:22", 403),
    ("address=http://127.0.0.99:14265", 403),
    ("address=http://localhost:14265", 403),
    ("address=http://127.0.0.11:14265@127.0.0.99:14265", 403),
    ("adress=http://127.0.0.11:14265", 400),
])  # fmt: skip
def test_only_registered_addresses_are_contacted(lb, query, status):
    assert ask(lb, query)[0] == status


def test_only_this_host_may_ask(lb):
    elsewhere = lb.sh("hostname -I").split()[0]
    assert lb.host.run(f"curl -s --max-time 2 http://{elsewhere}:9295/healthz").rc != 0
    assert ask(lb, "address=http://127.0.0.11:14265", "-H 'Host: lb.example.org'")[0] == 403


def test_a_restart_refuses_no_check_and_changes_no_verdict(lb):
    """The socket stays open, and the registered addresses are known even while Consul does not answer."""
    outputs = {address: consul_check(lb, address)["Output"] for address in NODES}
    for _ in range(3):
        lb.sh("systemctl restart iri-node-check")
        time.sleep(1.5)
        assert {address: consul_check(lb, address)["Output"] for address in NODES} == outputs
    lb.sh("systemctl stop consul")
    try:
        lb.sh("systemctl restart iri-node-check")
        assert ask(lb, "address=http://127.0.0.11:14265&skip-limited=true")[0] == 200
    finally:
        lb.sh("systemctl start consul")
    for address in NODES:
        lb.wait_up(address, seconds=40)


def watch(lb, seconds):
    """What wallets get meanwhile, and what the checks of all nodes say."""
    statuses, outputs = Counter(), set()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        statuses += Counter(lb.wallet("getNodeInfo")[0] for _ in range(5))
        outputs |= {consul_check(lb, address)["Output"][:8] for address in NODES}
    return statuses, outputs


def test_exec_mode_removes_the_service_and_no_node_notices(play, lb):
    """Also when the check was not deregistered first: in Consul the old one then runs on beside the new one."""
    play(*PROGRAMS)
    for address in NODES:
        if address != "127.0.0.12":
            end_check(lb, address)
        lb.register(address, TAGS.get(address, ()))
        lb.wait_up(address)
    assert "would lose the checks of" in refused(play)  # too early
    play("-e", "iri_node_check_mode=exec")
    for path in ("/etc/systemd/system/iri-node-check.service", "/etc/systemd/system/iri-node-check.socket", "/etc/iri-node-check"):
        assert not lb.host.file(path).exists, path
    assert lb.host.run("ss -Hltn | grep -q :9295").rc != 0
    statuses, outputs = watch(lb, 40)
    assert set(statuses) == {200}, statuses
    assert outputs == {"OK: IRI "}, "a check of the resident service runs on"
    assert changed(play()) == 0


def test_resident_mode_again_for_the_uninstall(play, lb):
    for address in NODES:
        lb.deregister(f"{address}:14265")
    play(*RESIDENT)
    assert lb.host.service("iri-node-check").is_running
