"""The uninstall removes what the install created, and nothing else."""

import json

from conftest import changed

UNINSTALL = ("--tags=uninstall", "-e", "uninstall_playbook=yes")
GONE = [
    "/etc/consul", "/var/lib/consul", "/var/lib/consul-snapshots", "/etc/haproxy/haproxy.cfg", "/etc/haproxy/ssl", "/var/lib/haproxy", "/run/haproxy",
    "/etc/iri-lb-handler", "/var/lib/iri-lb-handler", "/etc/iri-lb-haproxy", "/etc/tmpfiles.d/iri-lb-haproxy.conf", "/usr/local/lib/iri-lb-haproxy",
    "/usr/local/bin/iri-lb-handler", "/usr/local/bin/iri-node-check", "/etc/systemd/system/consul.service",
    "/etc/systemd/system/haproxy.service", "/etc/systemd/system/iri-lb-handler.service",
    "/etc/systemd/system/iri-node-check.service", "/etc/systemd/system/iri-node-check.socket", "/etc/iri-node-check",
    "/var/lib/iri-node-check", "/usr/local/share/man/man1", "/usr/local/share/bash-completion",
]  # fmt: skip


def test_the_uninstall_removes_what_the_install_created(play, lb):
    assert changed(play(*UNINSTALL)) > 0
    for path in GONE:
        assert not lb.host.file(path).exists, path
    for name in ("consul", "iri-lb-handler", "iri-node-check"):
        assert not lb.host.user(name).exists, name
        assert not lb.host.group(name).exists, name
    assert lb.sh("docker images --format '{{.Repository}}:{{.Tag}}'") == "somebody/else:1"
    assert lb.sh("systemctl list-units --all --plain --no-legend 'consul*' 'haproxy*' 'iri-*'") == ""
    assert lb.sh("find /etc/systemd -name 'consul*' -o -name 'haproxy*' -o -name 'iri-*'") == ""


def test_the_firewall_is_off_again(lb):
    assert "Status: inactive" in lb.sh("ufw status")
    assert "ufw allow 8888/tcp" in lb.sh("ufw show added"), "somebody else's rule"
    assert "14267" not in lb.sh("ufw show added")


def test_what_was_there_before_is_untouched(lb):
    assert lb.host.user("haproxy").gecos == "here before"
    assert lb.host.file("/etc/haproxy/notes.txt").content_string == "here before\n"
    assert lb.sh("docker ps --format '{{.Names}} {{.Image}}'") == "somebody somebody/else:1"


def test_a_second_uninstall_changes_nothing(play):
    assert changed(play(*UNINSTALL)) == 0


def test_somebody_elses_file_is_not_overwritten(play, lb):
    lb.sh("echo mine > /etc/haproxy/haproxy.cfg")
    run = play(check=False)
    assert run.returncode != 0
    assert "/etc/haproxy/haproxy.cfg, which this" in " ".join(run.stdout.split())
    assert changed(run) == 0


def test_without_docker_the_message_names_the_variable(play, lb):
    lb.sh("rm /etc/haproxy/haproxy.cfg && mv /usr/bin/docker /usr/bin/docker.away")
    try:
        run = play(check=False)
    finally:
        lb.sh("mv /usr/bin/docker.away /usr/bin/docker")
    assert run.returncode != 0
    assert "-e install_docker=true" in " ".join(run.stdout.split())
    assert changed(run) == 0


def test_bad_free_text_on_a_new_host_stops_before_packages_users_and_services(play, lb):
    run = play("-e", json.dumps({"haproxy_extra_frontend": "http-request set-header X-A b\nhtp-request deny"}), check=False)
    try:
        assert run.returncode != 0
        assert "haproxy_extra_frontend, line 2: unknown keyword 'htp-request' in 'frontend' section" in " ".join(run.stdout.split())
        assert changed(run) <= 5, "the record and the image"
        assert not lb.host.user("consul").exists
        assert lb.sh("ls -d /etc/consul /var/lib/haproxy /usr/local/bin/iri-lb-handler 2>/dev/null || true") == ""
    finally:
        play(*UNINSTALL)
    assert not lb.host.file("/etc/iri-lb-haproxy").exists
