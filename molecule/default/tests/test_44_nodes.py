"""iri_nodes: the playbook registers nodes in Consul's catalog. Starts and ends without any."""

import json

import pytest

from conftest import changed, wait_for

NODE = "127.0.0.14"
PLAY = ("--tags", "iri-lb-handler")


def nodes(*entries):
    return (*PLAY, "-e", json.dumps({"iri_nodes": list(entries)}))


def entry(**more):
    return {"address": NODE, "check": "skip-limited=true", "interval": "1s"} | more


def test_a_node_of_the_list_is_registered(play, lb):
    if lb.host.run(f"curl -s -o /dev/null http://{NODE}:14265/").rc != 0:
        lb.start_node("listed", NODE)
    assert changed(play(*nodes(entry()))) == 1
    lb.wait_up(NODE)
    assert changed(play(*nodes(entry()))) == 0


def test_a_changed_entry_changes_the_node(play, lb):
    assert changed(play(*nodes(entry(tags=["haproxy.weight=7"])))) == 1
    wait_for("its new weight", lambda: (lb.slot(NODE) or {}).get("weight") == 7)


@pytest.mark.parametrize("entries, why", [
    ([entry(tags=["haproxy.weight=many"])], f"iri_nodes: node {NODE}:14265: tag haproxy.weight=many: "),
    ([entry(tag=["haproxy.weight=7"])], "iri_nodes.tag. Supported parameters include: address, check,"),
    ([entry(check="skip-limitd=true")], 'unknown key "skip-limitd"'),
    ([entry(), entry()], f'iri_nodes: entries 1 and 2 have the same id "{NODE}:14265"'),
])  # fmt: skip
def test_a_wrong_entry_is_named_before_anything_changes(play, lb, entries, why):
    # The port would change HAProxy's configuration.
    run = play("-e", json.dumps({"iri_nodes": entries, "haproxy_stats_port": 9293}), check=False)
    assert run.returncode != 0
    assert changed(run) == 0
    assert why in " ".join(run.stdout.split()).replace('\\"', '"')
    assert lb.slot(NODE)["weight"] == 7


def test_a_node_that_left_the_list_is_deregistered_and_others_stay(play, lb):
    before = {address for _, address in lb.slots()} - {NODE}
    assert changed(play(*PLAY)) == 1
    wait_for("no slot", lambda: lb.slot(NODE) is None)
    assert {address for _, address in lb.slots()} == before
