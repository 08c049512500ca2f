"""A third pool is one entry of haproxy_more_pools. Starts and ends with the default pools in daemon mode."""

import json

from conftest import changed, wait_for

POOL = {"name": "archive", "backend": "iri_archive_back", "slots": 3, "tls_slots": 1, "max_connections": 10,
        "route": "var(txn.command) -m str getTrytes"}  # fmt: skip
THIRD = ("-e", json.dumps({"haproxy_more_pools": [POOL]}))
NODE = "127.0.0.15"


def test_a_third_pool_gets_the_requests_of_its_route(play, lb):
    play(*THIRD)
    lb.start_node("archive", NODE)
    lb.register(NODE, tags=["haproxy.pools=archive"])
    lb.wait_up(NODE, "iri_archive_back")
    assert lb.slot(NODE) is None, "it is in the default pool"
    assert {lb.wallet("getTrytes")[1] for _ in range(3)} == {"archive"}
    assert "archive" not in {lb.wallet("getNodeInfo")[1] for _ in range(6)}
    assert {lb.wallet("attachToTangle")[1] for _ in range(3)} == {"pow"}


def test_a_node_may_be_in_several_pools(lb):
    lb.register(NODE, tags=["haproxy.pools=default,archive"])
    lb.wait_up(NODE)
    assert lb.slot(NODE, "iri_archive_back")["up"]
    assert lb.slot(NODE, "iri_pow_back") is None


def test_a_reload_keeps_the_slots_of_all_pools(lb):
    before = lb.slots()
    assert {backend for backend, _ in before} == {"iri_back", "iri_pow_back", "iri_archive_back"}
    lb.sh("systemctl reload haproxy")
    wait_for("the same slots", lambda: lb.slots() == before)


def test_its_file_for_tls_names_is_recorded_for_the_uninstall(play, lb):
    sni = "/var/lib/haproxy/iri_archive_back.sni"
    found = lb.host.file(sni)
    assert (found.user, found.mode) == ("root", 0o600)
    assert f"path:{sni}" in json.loads(lb.sh("cat /etc/iri-lb-haproxy/installed.json"))["made"]
    assert changed(play(*THIRD)) == 0


def test_without_the_entry_the_pool_is_gone(play, lb):
    play()
    assert "iri_archive_back" not in lb.runtime("show stat")
    lb.wait_up(NODE)  # still in the default pool; the tag's unknown pool is ignored
    lb.deregister(f"{NODE}:14265")
    wait_for("no slot", lambda: lb.slot(NODE) is None)
    lb.wait_up("127.0.0.11")
