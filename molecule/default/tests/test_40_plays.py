"""The playbook with other variables, with wrong ones, and a second time."""

import json
import os
import shutil
import subprocess

import pytest

from conftest import REPOSITORY, changed, wait_for

# arguments of ansible-playbook → what the message must contain
WRONG = {
    "types": (["-e", json.dumps({"haproxy_https": "maybe", "max_backend_slots": "many", "iri_lb_handler_mode": "fax"})],
              ["haproxy_https", "maybe", "max_backend_slots", "many", "iri_lb_handler_mode", "fax", "daemon, watch"]),
    "ranges": (["-e", json.dumps({"haproxy_stats_port": 99999, "max_pow_backend_slots": 0, "lb_max_connections": 500})],
               ["haproxy_stats_port is 99999; allowed: 1 to 65535.", "max_pow_backend_slots is 0; allowed: 1 to",
                "haproxy_iri_max_connections is 900; allowed: 1 to 500."]),
    "forms": (["-e", json.dumps({"lb_bind_address": "1.2.3.4:5\n bind :6", "lb_service_name": None, "haproxy_whitelist": ["all"],
                                 "iri_lb_handler_drain_timeout": "5", "haproxy_image_archive": "/nowhere",
                                 "haproxy_check_timeout": "fast"})],
              ["lb_bind_address is", "lb_service_name is", 'haproxy_whitelist has \\"all\\"', "iri_lb_handler_drain_timeout is",
               "haproxy_image_archive is", "haproxy_check_timeout is"]),
    "users": (["-e", json.dumps({"haproxy_remote_auth": True, "haproxy_users": {"a b": "secret"},
                                 "haproxy_https_response_headers": {"X Y": "1"}})],
              ['haproxy_users has the user \\"a b\\"', "haproxy_users has no valid hash for a b", 'haproxy_https_response_headers has \\"X Y: 1\\"']),
    "nobody": (["-e", "haproxy_remote_auth=true"], ["haproxy_remote_auth is on and haproxy_users is empty"]),
    "ports": (["-e", "haproxy_stats_port=14267"], ["Port 14267 is used more than once: iri_api_port_remote, haproxy_stats_port."]),
    "pools": (["-e", json.dumps({"haproxy_more_pools": [
                  {"name": "archive", "backend": "iri_back", "slots": 0, "max_connections": 1, "route": "always_true", "server_timeout": "1d"},
                  {"name": "marked", "backend": "stats", "slots": 1, "max_connections": 1, "busy_error": "100%"}]})],
              ['haproxy_more_pools, pool \\"archive\\": slots is 0; allowed: 1 to 10000.', 'pool \\"archive\\": server_timeout is \\"1d\\"',
               'pool \\"marked\\": name is \\"marked\\"', 'pool \\"marked\\": backend is \\"stats\\"', 'pool \\"marked\\": busy_error is',
               '2 pools with the backend \\"iri_back\\"', "The pools without a route are default, marked;"]),
    "classes of commands": (["-e", json.dumps({"haproxy_command_classes": [
                  {"name": "reading", "commands": ["get tips"], "try_timeout": "5", "repeat": True},
                  {"name": "pow", "commands": ["attachToTangle", "interruptAttachingToTangle"], "try_timeout": "10m", "repeat": True}]})],
              ['haproxy_command_classes, \\"reading\\": try_timeout is \\"5\\"', '\\"get tips\\" is not a command',
               '\\"pow\\": attachToTangle with repeat: true', '\\"pow\\": interruptAttachingToTangle with repeat: true']),
    "a key of a pool": (["-e", json.dumps({"haproxy_more_pools": [{"name": "archive", "slot": 3}]})],
                        ["haproxy_more_pools", "backend, max_connections, slots", "slot"]),
    "slots of all pools": (["-e", json.dumps({"haproxy_more_pools": [
        {"name": "archive", "backend": "b", "slots": 10000, "tls_slots": 2010, "max_connections": 1, "route": "always_true"}]})],
        ["haproxy_nofile_limit is 16384; allowed: 16390 to"]),
    "an undefined variable": (["-e", '{"haproxy_tag": "{{ nothing_of_this_name }}"}'], ["nothing_of_this_name"]),
    "uninstall without its tag": (["-e", "uninstall_playbook=yes"], ["add --tags=uninstall"]),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_variables_stop_the_play_before_it_changes_anything(play, case):
    arguments, expected = WRONG[case]
    run = play(*arguments, check=False)
    assert run.returncode != 0
    assert changed(run) == 0
    # Ansible quotes some texts, and then escapes their quotes and line ends.
    text = " ".join(run.stdout.split())
    for part in expected:
        assert part in text or part.replace('\\"', '"') in text, run.stdout[-3000:]


def test_a_missing_variable_is_named(play, tmp_path):
    for name in ("site.yml", "ansible.cfg"):
        shutil.copy(REPOSITORY / name, tmp_path)
    for name in ("roles", "group_vars"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    variables = tmp_path / "group_vars/all/haproxy.yml"
    variables.write_text(variables.read_text().replace("lb_bind_address:", "mistyped:"))
    run = play(check=False, folder=tmp_path)
    assert run.returncode != 0
    assert "missing required arguments: lb_bind_address" in run.stdout
    assert changed(run) == 0


def test_booleans_may_be_texts(play):
    """-e key=true passes a text; --check shows that it means the same as the boolean."""
    run = play("--check", "-e", "haproxy_https=true", "-e", "consul_dns_enabled=no", "-e", "mask_secrets=yes", "-e", "install_docker=false")
    assert changed(run) == 0, run.stdout


def test_the_tag_uninstall_alone_does_nothing(play, lb):
    run = play("--tags", "uninstall")
    assert changed(run) == 0
    assert "add -e uninstall_playbook=yes" in run.stdout
    assert lb.host.file("/etc/consul/consul.json").exists


def test_z_override_wins(tmp_path):
    shutil.copytree(REPOSITORY / "group_vars", tmp_path / "group_vars")
    shutil.copy(REPOSITORY / "inventory", tmp_path)
    (tmp_path / "group_vars/all/z-override.yml").write_text("---\nlb_service_name: mine\nhaproxy_stats_port: 1\n")
    out = subprocess.run(["ansible-inventory", "-i", "inventory", "--host", "localhost"], cwd=tmp_path, capture_output=True, text=True, check=True)
    variables = json.loads(out.stdout)
    assert (variables["lb_service_name"], variables["haproxy_stats_port"]) == ("mine", 1)
    assert variables["max_backend_slots"] == 100  # z-override.yml.example is not read


def test_watch_mode_follows_consul(play, lb):
    play("-e", "iri_lb_handler_mode=watch", "-e", "max_backend_slots=300")
    assert not lb.host.service("iri-lb-handler").is_running
    assert not lb.host.service("iri-lb-handler").is_enabled
    lb.wait_up("127.0.0.11")
    lb.node_state("127.0.0.11", behind=5)
    lb.wait_down("127.0.0.11")
    lb.node_state("127.0.0.11", behind=0)
    lb.wait_up("127.0.0.11")
    assert lb.runtime("show servers state iri_back").count(" http300 ") == 1
    lb.sh("systemctl restart haproxy")  # filled by its unit, as there is no daemon
    assert lb.slot("127.0.0.11")["up"]


def test_users_whitelist_file_and_own_lines_take_effect(play, lb):
    password_hash = lb.sh("openssl passwd -5 secret").strip()
    play("--tags", "haproxy,iri-lb-handler", "-e", json.dumps({
        "haproxy_remote_auth": True, "haproxy_users": {"alice": password_hash}, "haproxy_use_whitelist_file": True, "haproxy_whitelist": [],
        "haproxy_stats_https": True, "haproxy_stats_users": {"admin": password_hash}, "haproxy_bad_command": "forbidden.text",
        "haproxy_extra_frontend": "http-request set-header X-Extra yes", "haproxy_extra_backend": "option log-health-checks",
        "haproxy_extra_global": "# the operator's"}))  # fmt: skip
    request = "curl -sk -o /dev/null -w '%{http_code}' -H 'X-IOTA-API-Version: 1' https://127.0.0.1:14267/"
    info, neighbours = """-d '{"command": "getNodeInfo"}'""", """-d '{"command": "getNeighbors"}'"""
    assert lb.sh(f"{request} {info}") == "401"
    assert lb.sh(f"{request} -u alice:secret {info}") == "200"
    assert lb.sh(f"{request} -u alice:secret {neighbours}") == "403"
    assert lb.sh(f"""{request} -u alice:secret -d '{{"command": "getNodeInfo", "a": "Forbidden-Text"}}'""") == "403"
    lb.sh("echo 127.0.0.0/8 >> /etc/haproxy/whitelist.lst && systemctl reload haproxy")
    wait_for("the whitelist", lambda: lb.sh(f"{request} -u alice:secret {neighbours}") != "403")
    for path in ("", "metrics"):
        assert lb.sh(f"curl -sk -o /dev/null -w '%{{http_code}}' https://127.0.0.1:9292/{path}") == "401"
        assert lb.sh(f"curl -sk -o /dev/null -w '%{{http_code}}' -u admin:secret https://127.0.0.1:9292/{path}") == "200"


def test_a_second_play_changes_nothing_back_in_daemon_mode(play, lb):
    play()
    assert lb.host.service("iri-lb-handler").is_running
    assert "/run/haproxy" not in lb.sh("docker inspect --format '{{json .HostConfig}}' consul")
    assert not lb.host.file("/usr/local/lib/iri-lb-haproxy/scripts/iri-lb-handler").exists
    wait_for("a node in service", lambda: lb.slot("127.0.0.11")["up"])
    before = lb.sh("docker inspect --format '{{.Id}} {{.State.StartedAt}}' consul haproxy; systemctl show iri-lb-handler -p MainPID")
    assert changed(play()) == 0
    assert lb.sh("docker inspect --format '{{.Id}} {{.State.StartedAt}}' consul haproxy; systemctl show iri-lb-handler -p MainPID") == before


def test_a_bad_haproxy_configuration_never_replaces_a_good_one(play, lb):
    before = lb.sh("sha256sum /etc/haproxy/haproxy.cfg")
    run = play("-e", '{"haproxy_deny_regex": "(unclosed"}', "--tags", "haproxy", check=False)
    assert run.returncode != 0
    assert "unclosed" in run.stdout
    assert lb.sh("sha256sum /etc/haproxy/haproxy.cfg") == before
    assert lb.wallet("getNodeInfo")[0] == 200
