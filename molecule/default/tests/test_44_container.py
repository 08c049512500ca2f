"""HAProxy's container is replaced while it runs: a new image, another command line. Uses the nodes of test_20_nodes.py."""

from contextlib import contextmanager

from conftest import wait_for

# Of ten wallets every second one keeps its connection. The last line of the output has the requests, and those that
# failed.
WALLETS = """
import http.client, ssl, sys, threading, time
sent, failed, stop = [0] * 10, [], threading.Event()
def run(number):
    wallet = None
    while not stop.is_set():
        try:
            if wallet is None or number % 2:
                wallet = http.client.HTTPSConnection("127.0.0.1", 14267, context=ssl._create_unverified_context(), timeout=10)
            wallet.request("POST", "/", '{"command": "getNodeInfo"}', {"X-IOTA-API-Version": "1"})
            answer = wallet.getresponse()
            answer.read()
            if answer.status != 200:
                failed.append(answer.status)
            if answer.will_close:
                wallet = None
        except OSError as error:
            failed.append(repr(error))
            wallet = None
        sent[number] += 1
        time.sleep(0.02)  # the playbook needs the processor, too
threads = [threading.Thread(target=run, args=(number,)) for number in range(10)]
for thread in threads:
    thread.start()
sys.stdin.read()
stop.set()
for thread in threads:
    thread.join()
print(sum(sent), failed)
"""
MARK = "::ffff:192.0.2.7"


@contextmanager
def wallets(lb):
    """Requests without a pause, none of which may fail."""
    lb.sh("cat > /tmp/wallets.py <<'EOF'\n" + WALLETS + "EOF\nrm -f /tmp/stop /tmp/sent; mkfifo /tmp/stop")
    lb.sh("systemd-run --quiet --collect --unit wallets --property StandardOutput=file:/tmp/sent --property StandardInput=file:/tmp/stop "
          "python3 /tmp/wallets.py & exec 3> /tmp/stop; sleep 1; (sleep 300 >&3 & echo $! > /tmp/holds)")  # fmt: skip
    try:
        yield
    finally:
        lb.sh("kill $(cat /tmp/holds)")
    wait_for("the wallets' account", lambda: lb.host.run("test -s /tmp/sent").rc == 0)
    sent, failed = lb.sh("cat /tmp/sent").split(" ", 1)
    assert int(sent) > 100
    assert failed == "[]"


def admin(lb, command):
    return lb.sh(f'echo "{command}" | socat stdio /run/haproxy/admin.sock')


def containers(lb):
    """The containers of HAProxy that run."""
    return lb.sh("docker ps --no-trunc --quiet --filter label=iri-lb-haproxy.command").split()


def new_image(lb, name="haproxy:3.0"):
    """Another image of the same name, as after a pull."""
    lb.sh(f"docker commit --message again $(docker create {name}) haproxy:3.0 && docker rm $(docker ps --all --quiet --filter status=created)")


def test_a_reload_with_a_new_image_loses_nothing(lb):
    (old,) = containers(lb)
    admin(lb, f"set table iri_abusers key {MARK} data.gpc0 1")
    admin(lb, "set server iri_back/" + lb.sh("iri-lb-handler status | awk '/127.0.0.11/ {print $4; exit}'") + " weight 7")
    with wallets(lb):
        new_image(lb)
        lb.sh("systemctl reload haproxy")
        wait_for("the old container has ended", lambda: len(containers(lb)) == 1)
    (new,) = containers(lb)
    assert new != old
    assert lb.sh("docker inspect --format '{{.Image}}' haproxy") == lb.sh("docker image inspect --format '{{.Id}}' haproxy:3.0")
    assert MARK in admin(lb, "show table iri_abusers")
    admin(lb, f"clear table iri_abusers key {MARK}")
    # The unit knows the new one.
    main = lb.sh("systemctl show --property MainPID --value haproxy")
    assert "--name haproxy" in lb.sh(f"tr '\\0' ' ' < /proc/{main}/cmdline")
    assert lb.sh("ls /run/haproxy").split() == ["admin.sock", "fault", "master.sock"]
    lb.sh("systemctl reload haproxy")
    assert containers(lb) == [new], "nothing else has changed"


def test_a_container_that_was_replaced_is_restarted_when_it_dies(lb):
    (old,) = containers(lb)
    lb.sh("docker kill haproxy")
    wait_for("another container", lambda: containers(lb) not in ([], [old]), 60)
    wait_for("the unit", lambda: lb.host.run("systemctl is-active haproxy").stdout.strip() == "active", 60)
    wait_for("a node in service", lambda: lb.wallet("getNodeInfo")[0] == 200)


def test_an_image_that_does_not_run_is_not_taken(lb):
    before = containers(lb)
    lb.sh("docker tag haproxy:3.0 haproxy:good")
    try:
        with wallets(lb):
            new_image(lb, "somebody/else:1 x")
            assert lb.host.run("systemctl reload haproxy").rc != 0
    finally:
        lb.sh("docker tag haproxy:good haproxy:3.0 && docker rmi haproxy:good && docker image prune --force")
    assert containers(lb) == before
    assert lb.sh("docker ps --filter name=^haproxy$ --no-trunc --quiet").split() == before
    assert "the new container ended at once" in lb.sh("journalctl -u haproxy -o cat --since -5min SYSLOG_IDENTIFIER=iri-lb-handler")
    assert lb.sh("ls /run/haproxy").split() == ["admin.sock", "fault", "master.sock"]
    lb.sh("systemctl reload haproxy")


def test_the_playbook_replaces_the_container_when_a_limit_has_changed(play, lb):
    with wallets(lb):
        try:
            play("--tags", "haproxy", "-e", "haproxy_nofile_limit=20000")
            assert "nofile=20000:20000" in lb.sh("docker inspect --format '{{range .HostConfig.Ulimits}}{{.}}{{end}}' haproxy")
        finally:
            play("--tags", "haproxy")
