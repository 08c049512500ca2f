"""A host dies, and is replaced."""

import re

from conftest import ADDRESSES, HOSTS, Wallets, wait_for

NODE = ADDRESSES[HOSTS[2]]  # runs on the third host and is registered at the second


def test_the_address_moves_when_haproxy_stops(cluster):
    (owner,) = cluster.owners()
    cluster.sh(owner, "systemctl stop haproxy")
    try:
        wait_for("another owner", lambda: cluster.owners() not in ([], [owner]))
        assert cluster.wallet() == (200, "node")
    finally:
        cluster.sh(owner, "systemctl start haproxy")


def test_the_address_stays_when_the_handler_and_consul_stop(cluster):
    (owner,) = cluster.owners()
    cluster.sh(owner, "systemctl stop iri-lb-handler consul")
    try:
        for _ in range(5):
            assert cluster.wallet() == (200, "node")
        assert cluster.owners() == [owner]
    finally:
        cluster.sh(owner, "systemctl start consul iri-lb-handler")
    wait_for("a healthy cluster", lambda: cluster.healthy(owner))


def give_address(cluster, host):
    """Moves the virtual address to a host."""
    others = [other for other in HOSTS if other != host]
    for other in others:
        cluster.sh(other, "systemctl stop keepalived")
    wait_for(f"{host} has the address", lambda: cluster.owners() == [host])
    for other in others:
        cluster.sh(other, "systemctl start keepalived")


def test_wallets_notice_one_gap_when_a_host_dies(cluster):
    """It has the address, and the node is registered there."""
    victim = HOSTS[1]
    give_address(cluster, victim)
    with Wallets(cluster) as wallets:
        try:
            wallets.wait_answers()
            cluster.docker("kill", victim)
            wait_for("another owner", lambda: len(cluster.owners()) == 1 and victim not in cluster.owners())
            wait_for("Consul notices", lambda: cluster.agent_state(HOSTS[2], victim) == "critical")
            wallets.wait_answers()
            assert NODE in cluster.up(HOSTS[0]) & cluster.up(HOSTS[2])
        finally:
            cluster.docker("start", victim)
        wait_for("a healthy cluster", lambda: cluster.healthy(HOSTS[0]), seconds=120)
        wait_for(f"{victim} serves the node", lambda: NODE in (cluster.up(victim) if cluster.try_sh(victim, "test -S /run/haproxy/admin.sock").returncode == 0 else ()))
    assert re.fullmatch(r"\++-*\++", wallets.seen), wallets.seen


def test_keepalived_comes_back_when_it_is_killed(cluster):
    """Until then two hosts have the address: the one where it was killed, and the one that took it."""
    (owner,) = cluster.owners()
    cluster.sh(owner, "systemctl kill --signal KILL keepalived")
    wait_for("keepalived again", lambda: cluster.try_sh(owner, "systemctl is-active keepalived").stdout.strip() == "active")
    wait_for("one owner", lambda: len(cluster.owners()) == 1)


def test_haproxy_starts_without_the_addresses_of_the_host(cluster):
    """A host whose own address is another one, or not there yet."""
    host = HOSTS[1]
    configuration = cluster.sh(host, "cat /etc/haproxy/haproxy.cfg")
    assert ADDRESSES[host] not in configuration
    assert "bind *:10000" in configuration


def test_a_majority_of_the_hosts_is_replaced(cluster, play):
    """Among them the inventory's first. Consul loses its quorum, so nobody notices in its catalog that the old agents have died."""
    survivor, *new = HOSTS[1], HOSTS[0], HOSTS[2]
    secrets = cluster.secrets(survivor)
    for host in new:
        cluster.remove(host)
    for host in new:
        cluster.create(host)
    cluster.start_node(HOSTS[2], "node")
    play()
    for host in HOSTS:
        wait_for(f"{host} sees a healthy cluster", lambda h=host: cluster.healthy(h), seconds=120)
        wait_for(f"{host} serves the node", lambda h=host: NODE in cluster.up(h))
        wait_for(f"{host} is in the catalog", lambda h=host: cluster.catalog_id(h) == cluster.sh(h, "cat /var/lib/consul/node-id"), seconds=120)
        assert cluster.secrets(host) == secrets


def test_a_host_with_other_secrets_is_refused(cluster, play):
    """It belongs to another cluster, whose registrations would be lost."""
    host, key = HOSTS[2], "/etc/consul/consul_key"
    cluster.sh(host, f"cp -p {key} /root/key && rm {key} && head -c 32 /dev/urandom | base64 > {key} && chmod 400 {key}")
    try:
        run = play("--tags", "consul", check=False)
    finally:
        cluster.sh(host, f"mv -f /root/key {key}")
    assert run.returncode != 0
    text = " ".join(run.stdout.split())
    assert f"{key} is not the same on all hosts" in text
    assert "These hosts belong to different clusters" in text
