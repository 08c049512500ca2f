"""Nodes are registered, change, fail and are deregistered; requests reach the right ones."""

import json

import pytest

from conftest import wait_for


@pytest.fixture(scope="module", autouse=True)
def nodes(lb):
    lb.sh("ip address add 10.100.0.10/32 dev lo")  # the address in the documentation's examples, on this host only
    lb.start_node("one", "127.0.0.11")
    lb.start_node("two", "127.0.0.12")
    lb.start_node("pow", "127.0.0.13", "-pow")
    lb.start_node("spare", "127.0.0.14")
    lb.start_node("documented", "10.100.0.10")


def test_a_registered_node_gets_requests(lb):
    lb.register("127.0.0.11")
    lb.wait_up("127.0.0.11")
    assert lb.wallet("getNodeInfo") == (200, "one")


def test_the_documented_commands_answer(lb):
    def ask(path):
        return json.loads(lb.operator(f'curl -s -H "X-Consul-Token: $CONSUL_HTTP_TOKEN" -X GET http://localhost:8500/v1/{path} | jq .'))

    assert "iri" in ask("catalog/services")
    wait_for("Consul's first check", lambda: ask("agent/checks")["service:127.0.0.11:14265"]["Status"] == "passing")
    assert ask("agent/services")["127.0.0.11:14265"]["Port"] == 14265


def test_a_node_that_loses_sync_leaves_and_returns(lb):
    lb.register("127.0.0.12")
    lb.wait_up("127.0.0.12")
    lb.node_state("127.0.0.12", behind=5)
    lb.wait_down("127.0.0.12")
    assert {lb.wallet("getNodeInfo") for _ in range(6)} == {(200, "one")}
    lb.node_state("127.0.0.12", behind=0)
    lb.wait_up("127.0.0.12")
    # It starts slowly.
    wait_for("answers of both", lambda: {lb.wallet("getNodeInfo") for _ in range(6)} == {(200, "one"), (200, "two")})


def test_pow_requests_go_to_the_pow_pool(lb):
    lb.register("127.0.0.13", tags=["haproxy.pow=only"])
    lb.wait_up("127.0.0.13", "iri_pow_back")
    assert lb.slot("127.0.0.13") is None
    assert lb.slot("127.0.0.13", "iri_pow_back")["maxconn"] == 1
    assert {lb.wallet("attachToTangle")[1] for _ in range(3)} == {"pow"}
    assert "pow" not in {lb.wallet("getNodeInfo")[1] for _ in range(6)}


def test_a_node_with_pow_true_is_in_both_pools(lb):
    lb.register("127.0.0.13", tags=["haproxy.pow=true"])
    lb.wait_up("127.0.0.13")
    lb.wait_up("127.0.0.13", "iri_pow_back")


def test_tags_and_their_changes_reach_the_slot(lb):
    lb.register("127.0.0.14", tags=["haproxy.weight=7", "haproxy.maxconn=11"])
    lb.wait_up("127.0.0.14")
    assert lb.slot("127.0.0.14") == {"kind": "http", "up": True, "weight": 7, "maxconn": 11}
    lb.register("127.0.0.14", tags=["haproxy.weight=9", "haproxy.maxconn=0"])
    wait_for("the new weight", lambda: lb.slot("127.0.0.14") == {"kind": "http", "up": True, "weight": 9, "maxconn": 0})


@pytest.mark.parametrize("tags, kind", [(["haproxy.scheme=https"], "https"),
                                        (["haproxy.scheme=https", "haproxy.sslverify=0"], "https-noverify"),
                                        ([], "http")])  # fmt: skip
def test_scheme_and_sslverify_choose_the_kind_of_slot(lb, tags, kind):
    lb.register("127.0.0.14", tags=tags)
    wait_for(f"a slot of the kind {kind}", lambda: (lb.slot("127.0.0.14") or {}).get("kind") == kind)


def test_a_deregistered_node_frees_its_slot(lb):
    lb.deregister("127.0.0.14:14265")
    wait_for("no slot", lambda: lb.slot("127.0.0.14") is None)


def test_the_documented_command_deregisters_a_node(lb):
    lb.register("10.100.0.10")
    lb.wait_up("10.100.0.10")
    lb.operator('curl -H "X-Consul-Token: $CONSUL_HTTP_TOKEN" -X PUT http://localhost:8500/v1/agent/service/deregister/10.100.0.10:14265')
    wait_for("no slot", lambda: lb.slot("10.100.0.10") is None)


def test_a_node_in_the_catalog_is_checked_by_the_load_balancer(lb):
    assert lb.operator("iri-lb-handler node add 127.0.0.14 --check skip-limited=true --interval 1s") == "added 127.0.0.14:14265"
    try:
        lb.wait_up("127.0.0.14")
        lb.node_state("127.0.0.14", behind=5)
        lb.wait_down("127.0.0.14")
        assert "catalog" in lb.operator("iri-lb-handler node list")
        lb.node_state("127.0.0.14", behind=0)
        lb.wait_up("127.0.0.14")
    finally:
        lb.operator("iri-lb-handler node remove 127.0.0.14")
    wait_for("no slot", lambda: lb.slot("127.0.0.14") is None)


def test_the_load_balancer_is_no_node_of_its_own(lb):
    address = lb.sh("hostname -I").split()[0]
    service = json.dumps({"ID": "itself", "Name": "iri", "Address": address, "Port": 14267})
    try:
        lb.operator(f"curl -sS --fail-with-body -H \"X-Consul-Token: $CONSUL_HTTP_TOKEN\" -X PUT -d '{service}' http://localhost:8500/v1/agent/service/register")
        wait_for("the reason in the log", lambda: f"{address}:14267 is this load balancer itself" in lb.sh("journalctl -u iri-lb-handler --no-pager"))
        assert lb.slot(address) is None
    finally:
        lb.deregister("itself")


def test_a_request_without_the_version_header_is_refused(lb):
    request = "curl -sk -o /dev/null -w '%{http_code}' https://127.0.0.1:14267/"
    assert lb.sh(f"{request} -d '{{\"command\": \"getNodeInfo\"}}'") == "400"
    assert lb.sh(f"{request} -X OPTIONS") == "200"  # a browser's preflight


def test_a_request_without_a_command_is_refused(lb):
    request = "curl -sk -o /dev/null -w '%{http_code}' -H 'X-IOTA-API-Version: 1' https://127.0.0.1:14267/"
    assert lb.sh(f"{request} -d '{{}}'") == "400"


def test_a_denied_command_is_refused_except_from_the_whitelist(lb):
    elsewhere = lb.sh("hostname -I").split()[0]
    assert lb.wallet("getNeighbors", address=elsewhere) == (403, "")
    assert lb.wallet("getNeighbors")[1] != ""


def test_a_large_body_is_read_completely_before_the_decision(lb):
    lb.sh("""{ printf '{"trytes": ["'; head -c 950000 /dev/zero | tr '\\0' 9; printf '"], "command": "attach\\\\u0054oTangle"}'; } > /tmp/body""")
    for options in ("--http1.1", "--http2", "--http1.1 -H Transfer-Encoding:chunked"):
        out = lb.sh("curl -sk -o /dev/null -w '%header{x-fake-node}' -H 'X-IOTA-API-Version: 1' "
                    f"{options} --data-binary @/tmp/body https://127.0.0.1:14267/")  # fmt: skip
        assert out == "pow", options


def test_a_body_that_is_too_long_for_any_node_is_refused(lb):
    lb.sh("cat /tmp/body /tmp/body > /tmp/bodies")
    out = lb.sh("curl -sk -o /dev/null -w '%{http_code}' -H 'X-IOTA-API-Version: 1' --data-binary @/tmp/bodies https://127.0.0.1:14267/")
    assert out == "413"
