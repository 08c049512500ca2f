"""What the install leaves on the host: units, permissions, open ports, tokens, logs."""

import json

import pytest

from conftest import HOST, wait_for

MODES = {
    "/etc/consul": ("root", "consul", 0o750),
    "/etc/consul/consul.json": ("root", "consul", 0o640),
    "/etc/consul/secrets.json": ("root", "consul", 0o640),
    "/etc/consul/consul_master_token": ("root", "root", 0o400),
    "/etc/consul/consul_agent_token": ("root", "root", 0o400),
    "/etc/consul/consul_handler_token": ("root", "root", 0o400),
    "/etc/consul/consul_key": ("root", "root", 0o400),
    "/etc/consul/ca.pem": ("root", "root", 0o400),
    "/etc/consul/ca.crt": ("root", "root", 0o644),
    "/etc/consul/host.pem": ("root", "consul", 0o640),
    "/var/lib/consul-snapshots": ("root", "root", 0o700),
    "/var/lib/consul": ("consul", "consul", 0o750),
    "/etc/haproxy/haproxy.cfg": ("root", "haproxy", 0o640),
    "/etc/haproxy/ssl/key.pem": ("root", "root", 0o600),
    "/etc/haproxy/ssl/certkey.pem": ("root", "root", 0o600),
    "/run/haproxy": ("haproxy", "haproxy", 0o2770),
    "/run/haproxy/admin.sock": ("root", "haproxy", 0o660),
    "/run/haproxy/master.sock": ("root", "haproxy", 0o600),
    "/etc/iri-lb-handler/config.yml": ("root", "iri-lb-handler", 0o640),
    "/etc/iri-lb-handler/consul_token": ("root", "iri-lb-handler", 0o640),
    "/usr/local/bin/iri-lb-handler": ("root", "root", 0o755),
    "/usr/local/bin/iri-node-check": ("root", "root", 0o755),
    "/usr/local/share/man/man1/iri-node-check.1": ("root", "root", 0o644),
    "/usr/local/share/bash-completion/completions/iri-node-check": ("root", "root", 0o644),
}


@pytest.mark.parametrize("unit", ["consul", "haproxy", "iri-lb-handler"])
def test_unit_runs_and_starts_at_boot(host, unit):
    assert host.service(unit).is_running, host.run(f"journalctl -u {unit} -n 30").stdout
    assert host.service(unit).is_enabled


@pytest.mark.parametrize("path", MODES)
def test_files_have_their_owner_and_mode(host, path):
    found = host.file(path)
    assert (found.user, found.group, found.mode) == MODES[path]


def test_only_the_wallets_port_and_consuls_servers_listen_on_the_network(lb):
    listening = {line.split()[3] for line in lb.sh("ss -Hltn").splitlines()}
    public = {address.rsplit(":", 1)[1] for address in listening if not address.startswith(("127.", "[::1]"))}
    assert public == {"14267", "8300", "8301"}  # 8300, 8301: between Consul servers
    assert {"127.0.0.1:8500", "127.0.0.1:9292", "127.0.0.1:9294", "127.0.0.1:9999"} <= listening


def test_consul_denies_requests_without_a_token(lb):
    assert lb.sh("curl -s http://localhost:8500/v1/catalog/services") == "{}"
    assert lb.sh("curl -s -o /dev/null -w '%{http_code}' -X PUT -d '{\"Name\":\"x\"}' http://localhost:8500/v1/agent/service/register") == "403"


def test_consul_encrypts_the_traffic_between_servers(lb):
    rings = json.loads(lb.operator('curl -s -H "X-Consul-Token: $CONSUL_HTTP_TOKEN" http://localhost:8500/v1/operator/keyring'))
    assert list(rings[0]["PrimaryKeys"]) == [lb.sh("cat /etc/consul/consul_key")]


@pytest.mark.parametrize("request_", ["-X PUT -d '{\"Name\":\"iri\"}' http://localhost:8500/v1/agent/service/register",
                                      "-X PUT -d x http://localhost:8500/v1/kv/x",
                                      "http://localhost:8500/v1/acl/tokens"])  # fmt: skip
def test_the_handlers_token_only_reads_nodes(lb, request_):
    assert lb.sh(f'curl -s -o /dev/null -w "%{{http_code}}" -H "X-Consul-Token: $(cat /etc/iri-lb-handler/consul_token)" {request_}') == "403"


def test_the_handler_shows_its_host_to_others(lb):
    def shown():
        return json.loads(lb.sh("iri-lb-handler status --cluster --json"))["hosts"]

    (host,) = wait_for("a report", lambda: shown() if shown()[0].get("report") else None)
    assert (host["name"], host["role"], host["state"], host["report"]["not_ready"]) == (HOST, "leader", "alive", [])


def test_no_secret_appears_in_the_process_list_or_the_journal(lb):
    for name in ("consul_master_token", "consul_agent_token", "consul_handler_token", "consul_key"):
        secret = lb.sh(f"cat /etc/consul/{name}")
        assert secret not in lb.sh("ps -ef; journalctl --no-pager; docker inspect consul haproxy"), name


@pytest.mark.parametrize("container, user", [("consul", "consul"), ("haproxy", "haproxy")])
def test_the_service_does_not_run_as_root(lb, container, user):
    # HAProxy's master stays root, with few capabilities; its worker, which talks to the network, does not.
    top = lb.sh(f"docker top {container} -eo uid,pid").splitlines()
    assert lb.sh(f"id -u {user}") in [line.split()[0] for line in top[1:]]


def test_haproxy_accepts_its_configuration_without_a_warning(lb):
    lb.sh("docker exec haproxy haproxy -c -dW -f /etc/haproxy/haproxy.cfg")


def test_the_documented_commands_show_statistics(lb):
    assert "iri_back,BACKEND" in lb.sh('echo "show stat" | socat stdio tcp4-connect:127.0.0.1:9999')
    assert "Statistics Report" in lb.sh("curl -s http://127.0.0.1:9292/")


@pytest.mark.parametrize("command", ["set server iri_back/http1 state ready", "set weight iri_back/http1 5", "disable frontend iri_front"])
def test_the_tcp_socket_is_read_only(lb, command):
    assert "Permission denied" in lb.runtime(command)


def test_the_handler_is_ready_and_has_metrics(lb):
    assert lb.sh("curl -s http://127.0.0.1:9294/readyz") == "ready"
    assert "iri_lb_handler_" in lb.sh("curl -s http://127.0.0.1:9294/metrics")


@pytest.mark.parametrize("unit, expected", [("consul", "agent: Consul agent running!"), ("haproxy", "Loading success"), ("iri-lb-handler", "started")])
def test_the_journal_has_the_log_of_each_service(lb, unit, expected):
    assert expected in lb.sh(f"journalctl -u {unit} --no-pager")
