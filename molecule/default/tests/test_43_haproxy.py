"""HAProxy's configuration and ports: judged before anything changes, and kept when a reload fails. Uses the nodes of test_20_nodes.py."""

import json
from contextlib import contextmanager

from conftest import changed, wait_for

CONFIG = "/etc/haproxy/haproxy.cfg"
LOADED = "/var/lib/haproxy/loaded.cfg"
WALLETS = """
while :; do
  curl -sk -o /dev/null -w '%{http_code}\\n' -H 'X-IOTA-API-Version: 1' -d '{"command": "getNodeInfo"}' https://127.0.0.1:14267/
done
"""
TAKEN = "frontend taken\n    mode http\n    bind 127.0.0.1:8080\n"


def said(run):
    return " ".join(run.stdout.replace("\\n", " ").split())


@contextmanager
def somebody_listens(lb, address="127.0.0.1", port=8080):
    lb.sh(f"systemd-run --quiet --collect --unit somebody-else python3 -m http.server {port} --bind {address}")
    try:
        wait_for("somebody else listens", lambda: lb.host.run(f"curl -s -o /dev/null http://{address}:{port}/").rc == 0)
        yield
    finally:
        lb.sh("systemctl stop somebody-else")


def refused(play, lb, variables):
    """Runs the playbook, which must fail without a change, and returns what it said."""
    before = lb.sh(f"sha256sum {CONFIG} /etc/iri-lb-handler/config.yml; docker inspect --format '{{{{.State.StartedAt}}}}' haproxy consul")
    run = play("-e", json.dumps(variables), check=False)
    assert run.returncode != 0
    assert changed(run) == 0, run.stdout
    assert lb.sh(f"sha256sum {CONFIG} /etc/iri-lb-handler/config.yml; docker inspect --format '{{{{.State.StartedAt}}}}' haproxy consul") == before
    assert lb.host.run("ls -d /root/.iri-lb-haproxy-preflight /tmp/iri-lb-preflight*").stdout == ""
    return said(run)


def test_ports_of_somebody_else_are_named_before_anything_changes(play, lb):
    with somebody_listens(lb):
        message = refused(play, lb, {
            "haproxy_stats_port": 8080, "haproxy_extra_frontend": "# mine\nbind 127.0.0.1:8080", "lb_bind_address": "203.0.113.7"})  # fmt: skip
        pid = lb.sh("systemctl show --property MainPID --value somebody-else")
        assert f"(haproxy_stats_address, haproxy_stats_port): port 127.0.0.1:8080 is used by python3 (process {pid})" in message
        assert f"(haproxy_extra_frontend, line 2): port 127.0.0.1:8080 is used by python3 (process {pid})" in message
        assert "(lb_bind_address, iri_api_port_remote): 203.0.113.7 is not an address of this host" in message
        for variable in ("consul_comm_port", "iri_lb_handler_port"):
            assert f"{variable}: port 127.0.0.1:8080 is used by python3" in refused(play, lb, {variable: 8080})


def test_bad_free_text_is_refused_before_anything_changes(play, lb):
    message = refused(play, lb, {
        "haproxy_extra_frontend": "http-request set-header X-A b\nhtp-request deny", "haproxy_extra_backend": "nonsense"})  # fmt: skip
    assert "haproxy_extra_frontend, line 2: unknown keyword 'htp-request' in 'frontend' section" in message
    assert "haproxy_extra_backend, line 1: unknown keyword 'nonsense' in 'backend' section" in message
    assert "[ALERT]" in message, "HAProxy's own words"


def test_a_bad_route_of_a_pool_is_refused_before_anything_changes(play, lb):
    pool = {"name": "archive", "backend": "iri_archive_back", "slots": 1, "max_connections": 1, "route": "always_ture"}
    assert "haproxy_more_pools, pool archive, route: " in refused(play, lb, {"haproxy_more_pools": [pool]})


def test_own_lines_may_name_files_of_the_host(play, lb):
    lb.sh("echo '192.0.2.1 x' > /etc/haproxy/own.map")
    try:
        run = play("--check", "-e", json.dumps({"haproxy_extra_frontend": "http-request set-header X-A %[src,map(/etc/haproxy/own.map)]"}))
        assert changed(run) > 0
    finally:
        lb.sh("rm /etc/haproxy/own.map")


def test_a_reload_by_hand_with_a_taken_port_is_refused_and_pauses_nothing(lb):
    lb.sh(f"cp -p {CONFIG} /root/haproxy.cfg")
    worker = lb.sh("docker top haproxy -eo pid,cmd")
    with somebody_listens(lb):
        lb.sh(f"cat >> {CONFIG} <<'EOF'\n{TAKEN}EOF")
        try:
            lb.sh("rm -f /tmp/codes; cat > /tmp/wallets.sh <<'EOF'\n" + WALLETS + "EOF")
            lb.sh("systemd-run --quiet --collect --unit wallets --property StandardOutput=append:/tmp/codes bash /tmp/wallets.sh")
            wait_for("traffic", lambda: lb.host.run("test -s /tmp/codes").rc == 0)
            assert lb.host.run("systemctl reload haproxy").rc != 0
            sent = int(lb.sh("wc -l < /tmp/codes"))
            wait_for("100 requests afterwards", lambda: int(lb.sh("wc -l < /tmp/codes")) > sent + 100, 60)
        finally:
            lb.sh("systemctl stop wallets")
            lb.sh(f"mv /root/haproxy.cfg {CONFIG}")
    codes = lb.sh("sort /tmp/codes | uniq -c").split()
    assert codes[1::2] == ["200"], codes
    assert lb.sh("docker top haproxy -eo pid,cmd") == worker
    assert "port 127.0.0.1:8080 is used by python3" in lb.sh("journalctl -u haproxy -o cat --since -2min --grep 'is used by'")


def test_a_failed_reload_puts_the_old_file_back_and_is_tried_again(play, lb):
    """What fails only at the reload itself: here the socket of HAProxy's master is away."""
    before = lb.sh(f"sha256sum < {CONFIG}")
    variables = ("--tags", "haproxy", "-e", json.dumps({"haproxy_extra_global": "# another"}))
    lb.sh("mv /run/haproxy/master.sock /run/haproxy/away.sock")
    try:
        run = play(*variables, check=False)
        assert run.returncode != 0
        assert "HAProxy's master" in said(run), run.stdout[-3000:]
        assert lb.sh(f"sha256sum < {CONFIG}") == before
    finally:
        lb.sh("mv /run/haproxy/away.sock /run/haproxy/master.sock")
    try:
        assert changed(play(*variables)) > 0
        assert "# another" in lb.sh(f"cat {LOADED}")
    finally:
        play("--tags", "haproxy")
    assert lb.sh(f"sha256sum < {CONFIG}") == before
    assert lb.wallet("getNodeInfo")[0] == 200


def test_a_run_that_broke_off_is_made_good_by_the_next(play, lb):
    """As if it had written the files, and nothing had read them."""
    lb.sh(f"echo '# older' >> {LOADED}; touch /etc/consul/consul.json /etc/iri-lb-handler/config.yml")
    lb.sh("touch -d '+1 day' /etc/consul/secrets.json")  # a date in the future says nothing
    started = "docker inspect --format '{{.State.StartedAt}}' consul; systemctl show --property MainPID --value iri-lb-handler"
    before, worker = lb.sh(started).split(), lb.sh("docker top haproxy -eo pid,cmd")
    try:
        run = play()
    finally:
        lb.sh("touch -r /etc/consul/consul.json /etc/consul/secrets.json")
    assert changed(run) > 0
    assert all(new != old for new, old in zip(lb.sh(started).split(), before, strict=True)), "Consul and the handler have read them"
    assert lb.sh("docker top haproxy -eo pid,cmd") != worker, "HAProxy has been reloaded"
    assert lb.sh(f"cmp {CONFIG} {LOADED}") == ""
    assert changed(play()) == 0
    wait_for("a node in service", lambda: lb.wallet("getNodeInfo")[0] == 200)


def test_a_haproxy_that_does_not_run_is_started_with_the_new_configuration(play, lb):
    lb.sh("systemctl stop haproxy")
    try:
        play("--tags", "haproxy", "-e", json.dumps({"haproxy_extra_global": "# another"}))
        assert lb.sh("systemctl is-active haproxy") == "active"
        assert "# another" in lb.sh(f"cat {LOADED}")
    finally:
        play("--tags", "haproxy")
    wait_for("a node in service", lambda: lb.wallet("getNodeInfo")[0] == 200)
