"""The firewall lets keepalived through. It stays on until the uninstall."""

from conftest import ADDRESSES, HOSTS, VIRTUAL, wait_for

ON = ("-e", "configure_firewall=true")


def rules(cluster, host):
    """The rules for IP protocol 112."""
    return {line for line in cluster.sh(host, "ufw show added").splitlines() if "vrrp" in line}


def others(host):
    return {f"ufw allow from {address} proto vrrp" for name, address in ADDRESSES.items() if name != host}


def test_without_keepalived_its_protocol_is_closed(cluster, play):
    play("--tags", "keepalived", *ON, "-e", "keepalived_enabled=false")
    cluster.sh(HOSTS[2], "ufw allow 14265/tcp")  # the node, which an operator would have elsewhere
    assert [rules(cluster, host) for host in HOSTS] == [set()] * 3


def test_the_address_moves_behind_a_firewall(cluster, play):
    play("--tags", "keepalived", *ON)
    for host in HOSTS:
        assert "Status: active" in cluster.sh(host, "ufw status")
        assert rules(cluster, host) == others(host)
        # What was let through before may still be known to the kernel; the packets of a keepalived that starts now
        # are judged anew.
        cluster.sh(host, "systemctl restart keepalived")
    wait_for("one owner", lambda: len(cluster.owners()) == 1)
    (owner,) = cluster.owners()
    cluster.sh(owner, "systemctl stop haproxy")
    try:
        wait_for("another owner", lambda: cluster.owners() not in ([], [owner]))
    finally:
        cluster.sh(owner, "systemctl start haproxy")
    wait_for("one owner", lambda: len(cluster.owners()) == 1)
    assert VIRTUAL in cluster.sh(cluster.owners()[0], "ip -4 -br address")
    assert cluster.wallet() == (200, "node")
