"""Snapshots of Consul's data, and what is left of a bad one."""

from conftest import ADDRESSES, HOSTS, wait_for

FOLDER = "/var/lib/consul-snapshots"
FIRST = HOSTS[0]


def snapshots(cluster, host):
    return cluster.sh(host, f"ls {FOLDER}").split()


def test_every_server_takes_snapshots(cluster):
    for host in HOSTS:
        assert cluster.sh(host, "systemctl is-enabled consul-snapshot.timer && systemctl is-active consul-snapshot.timer") == "enabled\nactive"
        assert cluster.sh(host, f"stat -c '%U %a' {FOLDER}") == "root 700"
        cluster.sh(host, "systemctl start consul-snapshot")
        assert cluster.sh(host, f"stat -c '%U %a' {FOLDER}/*.snap").split("\n")[-1] == "root 600"


def test_seven_are_kept_and_a_failed_one_replaces_none(cluster):
    cluster.sh(FIRST, f"for day in 1 2 3 4 5 6 7 8; do touch {FOLDER}/2001-01-0${{day}}T000000Z.snap; done")
    try:
        cluster.sh(FIRST, "systemctl start consul-snapshot")
        kept = snapshots(cluster, FIRST)
        assert len(kept) == 7
        assert not kept[-1].startswith("2001")
        cluster.sh(FIRST, "systemctl stop consul")
        try:
            assert cluster.try_sh(FIRST, "systemctl start consul-snapshot").returncode != 0
            assert snapshots(cluster, FIRST) == kept
        finally:
            cluster.sh(FIRST, "systemctl reset-failed consul-snapshot; systemctl start consul")
            wait_for("a healthy cluster", lambda: cluster.healthy(FIRST))
    finally:
        cluster.sh(FIRST, f"rm -f {FOLDER}/2001*")


def test_the_token_is_on_no_command_line(cluster):
    token = cluster.sh(FIRST, "cat /etc/consul/consul_master_token")
    units = cluster.sh(FIRST, "cat /etc/systemd/system/consul-snapshot.service; journalctl -u consul-snapshot -o cat")
    assert "snapshot save" in units
    assert token not in units


def test_a_deregistered_node_comes_back_with_a_snapshot(cluster, play):
    address = ADDRESSES[HOSTS[2]]
    if cluster.try_sh(HOSTS[2], "systemctl is-active fake-node").stdout.strip() != "active":
        cluster.start_node(HOSTS[2], "node")
    before = cluster.up(FIRST) - {address}
    cluster.handler(FIRST, f"node add {address}:14265 --id restored --interval 1s")
    try:
        wait_for("the node", lambda: "restored" in cluster.handler(FIRST, "node list"))
        cluster.sh(FIRST, "systemctl start consul-snapshot")
        path = f"{FOLDER}/{snapshots(cluster, FIRST)[-1]}"
        cluster.handler(FIRST, "node remove restored")

        for arguments, complaint in {
            (): "Name the snapshot by its whole path",
            ("-e", "snapshot=/etc/hostname"): f"/etc/hostname on {FIRST} is not a snapshot of Consul",
            ("-e", f"snapshot={path}"): "Nothing has been changed",
        }.items():
            run = play(*arguments, check=False, playbook="restore.yml")
            assert run.returncode != 0
            assert complaint in " ".join(run.stdout.split()), run.stdout[-2000:]
        assert "restored" not in cluster.handler(FIRST, "node list")

        run = play("-e", f"snapshot={path}", "-e", "confirmed=yes", playbook="restore.yml")
        assert f"{address}:14265" in run.stdout
        for host in HOSTS:
            wait_for(f"{host} has the node again", lambda h=host: "restored" in cluster.handler(h, "node list"))
            wait_for(f"{host} serves it", lambda h=host: cluster.up(h) == before | {address})
    finally:
        cluster.handler(FIRST, "node remove restored")
