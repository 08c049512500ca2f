"""What three hosts in the inventory are enough for: a cluster, and one address."""

import json

from conftest import ADDRESSES, HOSTS, VIRTUAL, changed, wait_for


def test_the_servers_form_one_cluster(cluster):
    for host in HOSTS:
        wait_for(f"{host} sees a healthy cluster", lambda h=host: cluster.healthy(h))
    health = json.loads(cluster.api(HOSTS[0], "operator/autopilot/health"))
    assert {server["Name"] for server in health["Servers"] if server["Voter"]} == set(HOSTS)
    assert health["FailureTolerance"] == 1


def test_all_hosts_have_the_same_secrets(cluster):
    assert len({cluster.secrets(host) for host in HOSTS}) == 1


def test_autopilot_keeps_a_dead_server_until_it_is_replaced(cluster):
    assert json.loads(cluster.api(HOSTS[0], "operator/autopilot/configuration"))["MinQuorum"] == 3


def test_a_node_registered_at_one_host_is_served_by_all(cluster):
    cluster.start_node(HOSTS[2], "node")
    cluster.register(HOSTS[1], ADDRESSES[HOSTS[2]])
    for host in HOSTS:
        wait_for(f"{host} serves the node", lambda h=host: cluster.up(h) == {ADDRESSES[HOSTS[2]]})
        assert cluster.wallet(ADDRESSES[host]) == (200, "node")


def test_one_host_has_the_virtual_address(cluster):
    wait_for("one owner", lambda: len(cluster.owners()) == 1)
    assert cluster.wallet(VIRTUAL) == (200, "node")


def test_every_host_shows_all_of_them(cluster):
    def agreed(host):
        """What a host shows, once all reports are there and say the same. They are up to 30 s old."""
        shown = json.loads(cluster.sh(host, "iri-lb-handler status --cluster --json"))
        owners = [address["hosts"] for address in shown["addresses"]]
        return shown if set(shown["compared"]) == set(HOSTS) and not shown["differences"] and owners == [cluster.owners()] else None

    for host in HOSTS:
        shown = wait_for(f"{host} shows three hosts that agree", lambda h=host: agreed(h), 60)
        assert {(h["state"], h["report"]["haproxy"][0]["pools"][0]["nodes"][0]["verdict"]) for h in shown["hosts"]} == {("alive", "passing")}


def test_consuls_metrics_are_there(cluster):
    assert "\nconsul_raft_" in cluster.api(HOSTS[0], "agent/metrics?format=prometheus")


def test_a_run_for_one_host_changes_nothing(play):
    run = play("--limit", f"localhost,{HOSTS[1]}")
    assert changed(run, HOSTS[1]) == 0
    assert changed(run, HOSTS[0]) is None
