"""TLS between the hosts: HAProxy's peers always, Consul's servers with consul_tls."""

import json
import socket
import ssl
from itertools import pairwise

import pytest
from conftest import ADDRESSES, HOSTS, REPOSITORY, Wallets, wait_for

SCRIPT = REPOSITORY / "roles/consul/files/host-certificate.sh"
HELLO = f"HAProxyS 2.1\n{HOSTS[0]}\n{HOSTS[1]} 1 0\n".encode()
HOST_FILE, PEERS_FILE = "/etc/consul/host.pem", "/etc/haproxy/ssl/peers.pem"


@pytest.fixture(scope="module", autouse=True)
def node(cluster):
    """One node in the catalog, for the wallets."""
    address = ADDRESSES[HOSTS[2]]
    if cluster.try_sh(HOSTS[2], "systemctl is-active fake-node").stdout.strip() != "active":
        cluster.start_node(HOSTS[2], "node")
    cluster.handler(HOSTS[0], f"node add {address}:14265 --interval 1s")
    try:
        for host in HOSTS:
            wait_for(f"{host} serves the node", lambda h=host: address in cluster.up(h))
        yield address
    finally:
        cluster.handler(HOSTS[0], f"node remove {address}:14265")


def test_a_source_marked_by_one_host_is_refused_by_all(cluster):
    source = cluster.sh(HOSTS[0], "ip -4 route show default").split()[2]  # this machine, as the hosts see it
    assert [cluster.wallet(ADDRESSES[host])[0] for host in HOSTS] == [200, 200, 200]
    cluster.haproxy(HOSTS[0], f"set table iri_abusers key ::ffff:{source} data.gpc0 1")
    try:
        for host in HOSTS:
            wait_for(f"{host} refuses", lambda h=host: cluster.wallet(ADDRESSES[h])[0] != 200, seconds=10)
    finally:
        for host in HOSTS:
            cluster.haproxy(host, f"clear table iri_abusers key ::ffff:{source}")
    assert [cluster.wallet(ADDRESSES[host])[0] for host in HOSTS] == [200, 200, 200]


def answer(address, port, hello, context=None):
    """What is answered to a hello; "silence" if the connection stays open without an answer."""
    with socket.create_connection((address, port), timeout=3) as plain:
        try:
            conn = context.wrap_socket(plain) if context else plain
            conn.sendall(hello)
            return conn.recv(16)
        except TimeoutError:
            return b"silence"
        except OSError:
            return b""


def test_peers_demand_a_certificate(cluster, tmp_path):
    certificate = tmp_path / "host.pem"
    certificate.write_text(cluster.sh(HOSTS[1], f"cat {HOST_FILE}") + "\n")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    assert not answer(ADDRESSES[HOSTS[0]], 10000, HELLO).startswith(b"200"), "in clear"
    assert not answer(ADDRESSES[HOSTS[0]], 10000, HELLO, context).startswith(b"200"), "without a certificate"
    context.load_cert_chain(certificate)
    assert answer(ADDRESSES[HOSTS[0]], 10000, HELLO, context).startswith(b"200"), "with the certificate of a host"


def test_a_secret_comes_from_the_other_hosts_and_a_certificate_is_made_anew(cluster, play):
    """The ten years of one certificate are down to less than three; another one is gone, and a token with it."""
    secrets = cluster.secrets(HOSTS[0])
    names = cluster.sh(HOSTS[0], f"openssl x509 -in {HOST_FILE} -noout -ext subjectAltName | tail -n 1").replace("IP Address", "IP").replace(" ", "")
    script = SCRIPT.read_text().replace("days=3650", "days=1000")
    cluster.docker("exec", HOSTS[0], "sh", "-c", script, "sh", "make", HOST_FILE, "/etc/consul/ca.pem", names)
    cluster.sh(HOSTS[1], f"rm {HOST_FILE} {PEERS_FILE} /etc/consul/consul_agent_token")
    before = {host: cluster.try_sh(host, f"sha256sum {HOST_FILE}").stdout for host in HOSTS}
    play("--tags", "consul,haproxy")
    assert cluster.secrets(HOSTS[1]) == secrets
    for host in HOSTS:
        assert (cluster.sh(host, f"sha256sum {HOST_FILE}") != before[host].strip()) == (host != HOSTS[2])
        cluster.sh(host, f"openssl x509 -in {HOST_FILE} -noout -checkend {9 * 365 * 86400} && cmp {HOST_FILE} {PEERS_FILE}")
        assert cluster.sh(host, f"stat -c '%U:%G %a' {HOST_FILE} {PEERS_FILE} /etc/consul/ca.pem").split("\n") == [
            "root:consul 640", "root:root 600", "root:root 400"]  # fmt: skip


def verified(cluster):
    """How each host's Consul treats TLS, by its own account."""
    rules = [json.loads(cluster.api(host, "agent/self"))["DebugConfig"]["TLS"]["InternalRPC"] for host in HOSTS]
    return [[rule[name] for name in ("VerifyOutgoing", "VerifyIncoming", "VerifyServerHostname")] for rule in rules]


def consul_starts(cluster):
    """When each host's Consul was started, in µs of one clock: the hosts are containers of one machine."""
    return [int(cluster.sh(host, "systemctl show consul -p ActiveEnterTimestampMonotonic --value")) for host in HOSTS]


def talks_plainly(host):
    """Whether a server waits for a request without TLS. The first byte says what is coming: 0 is a request in clear."""
    return answer(ADDRESSES[host], 8300, b"\x00") == b"silence"


def test_tls_is_turned_on_and_off_without_a_lost_request(cluster, play, node):
    assert all(talks_plainly(host) for host in HOSTS)
    before = consul_starts(cluster)
    with Wallets(cluster) as wallets:
        wallets.wait_answers()
        try:
            play("--tags", "consul", "-e", "consul_tls=true")
            after = consul_starts(cluster)
            assert all(now > then for now, then in zip(after, before))
            assert all(later - earlier > 1_000_000 for earlier, later in pairwise(sorted(after))), "restarted one after the other"
            assert verified(cluster) == [[True] * 3] * 3
            assert not any(talks_plainly(host) for host in HOSTS)
            wait_for("a healthy cluster", lambda: cluster.healthy(HOSTS[0]))
            # Without one host nothing becomes less strict.
            run = play("--tags", "consul", "--limit", f"localhost,{HOSTS[0]},{HOSTS[1]}")
            assert f"the next step needs every host, and {HOSTS[2]} is away or not up to date" in " ".join(run.stdout.split())
            assert verified(cluster) == [[True] * 3] * 3
            assert all(node in cluster.up(host) for host in HOSTS)
        finally:
            play("--tags", "consul")
        wallets.wait_answers()
    assert verified(cluster) == [[False] * 3] * 3
    assert all(talks_plainly(host) for host in HOSTS)
    assert "-" not in wallets.seen
