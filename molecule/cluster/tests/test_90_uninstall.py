"""One host leaves, then the others."""

from conftest import ADDRESSES, HOSTS, changed, wait_for

UNINSTALL = ("--tags=uninstall", "-e", "uninstall_playbook=yes")


def test_one_host_is_uninstalled_and_the_others_serve(cluster, play):
    run = play("--limit", f"localhost,{HOSTS[0]}", *UNINSTALL)
    assert changed(run, HOSTS[0]) > 0
    assert cluster.try_sh(HOSTS[0], "test -e /etc/consul -o -e /etc/keepalived/keepalived.conf -o -e /etc/systemd/system/keepalived.service.d").returncode != 0
    assert cluster.try_sh(HOSTS[0], "systemctl is-active keepalived").stdout.strip() != "active"
    assert cluster.try_sh(HOSTS[0], "systemctl list-unit-files | grep consul-snapshot; ufw show added | grep vrrp").stdout == ""
    wait_for("an owner of the address", lambda: len(cluster.owners()) == 1 and HOSTS[0] not in cluster.owners())
    assert cluster.wallet() == (200, "node")
    assert ADDRESSES[HOSTS[2]] in cluster.up(HOSTS[1])


def test_the_others_are_uninstalled(cluster, play):
    play(*UNINSTALL)
    for host in HOSTS:
        assert cluster.try_sh(host, "ls -d /etc/consul /var/lib/consul /var/lib/consul-snapshots /etc/iri-lb-handler /etc/iri-lb-haproxy").stdout == ""
    assert cluster.owners() == []
