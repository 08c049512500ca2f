"""Another load balancer joins with a Consul agent only, and two addresses are on two hosts."""

import json

from conftest import ADDRESSES, HOSTS, REPOSITORY, VIRTUAL, changed, wait_for

FOURTH, SECOND_VIRTUAL = "iri-lb-cluster-4", "172.31.77.41"
NODE = ADDRESSES[HOSTS[2]]


def with_fourth(tmp_path):
    """The inventory's additional file: the host is in the group haproxy only."""
    file = tmp_path / "fourth.yml"
    variables = (REPOSITORY / "molecule/cluster/molecule.yml").read_text().split(f"{HOSTS[0]}: &vars\n")[1].split(f"      {HOSTS[1]}:")[0]
    file.write_text(f"haproxy:\n  hosts:\n    {FOURTH}:\n{variables}")
    return "-i", str(file)


def serve_node(cluster):
    if cluster.try_sh(HOSTS[2], "systemctl is-active fake-node").stdout.strip() != "active":
        cluster.start_node(HOSTS[2], "node")
    cluster.handler(HOSTS[0], f"node add {NODE}:14265 --interval 1s")


def test_a_fourth_load_balancer_joins_with_an_agent(cluster, play, tmp_path):
    serve_node(cluster)
    ADDRESSES[FOURTH] = "172.31.77.34"
    cluster.remove(FOURTH)
    cluster.create(FOURTH)
    try:
        run = play(*with_fourth(tmp_path))
        assert cluster.secrets(FOURTH) == cluster.secrets(HOSTS[0])
        wait_for("it serves the node", lambda: NODE in cluster.up(FOURTH))
        assert cluster.wallet(ADDRESSES[FOURTH]) == (200, "node")
        members = {member["Name"]: member for member in json.loads(cluster.api(HOSTS[0], "agent/members"))}
        assert members[FOURTH]["Tags"]["role"] == "node", "a client agent"
        assert f'"{HOSTS[0]}"' in cluster.sh(FOURTH, "iri-lb-handler status --cluster --json")
        run = play(*with_fourth(tmp_path))
        assert [changed(run, host) for host in (*HOSTS, FOURTH)] == [0, 0, 0, 0]
        play(*with_fourth(tmp_path), "--limit", f"localhost,{FOURTH}", "--tags=uninstall", "-e", "uninstall_playbook=yes")
    finally:
        cluster.remove(FOURTH)
        del ADDRESSES[FOURTH]
    play()
    assert FOURTH not in cluster.sh(HOSTS[0], "cat /etc/keepalived/keepalived.conf /etc/haproxy/haproxy.cfg")
    assert cluster.wallet() == (200, "node")


def test_two_addresses_are_on_two_hosts(cluster, play):
    def owner(address):
        return [host for host in HOSTS if f" {address}/" in cluster.try_sh(host, "ip -4 -br address").stdout]

    serve_node(cluster)
    both = {"keepalived_addresses": [f"{VIRTUAL}/24", f"{SECOND_VIRTUAL}/24"]}
    try:
        play("--tags", "keepalived", "-e", json.dumps(both))
        wait_for("two owners", lambda: [owner(VIRTUAL), owner(SECOND_VIRTUAL)] == [[HOSTS[0]], [HOSTS[1]]], seconds=120)
        cluster.sh(HOSTS[1], "systemctl stop haproxy")
        try:
            wait_for("another owner", lambda: owner(SECOND_VIRTUAL) not in ([], [HOSTS[1]]))
            assert [cluster.wallet(address) for address in (VIRTUAL, SECOND_VIRTUAL)] == [(200, "node")] * 2
        finally:
            cluster.sh(HOSTS[1], "systemctl start haproxy")
        wait_for("the owner before", lambda: owner(SECOND_VIRTUAL) == [HOSTS[1]], seconds=120)
    finally:
        play("--tags", "keepalived")
    wait_for("one owner", lambda: len(owner(VIRTUAL)) == 1 and owner(SECOND_VIRTUAL) == [])
