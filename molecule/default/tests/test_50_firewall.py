"""configure_firewall with ufw: opens the required ports and nothing else. test_90 uninstalls it; test_95 uses firewalld."""

from conftest import changed, reachable, wait_for

# One part of the installation is enough, and faster: each prepares the host.
ON = ("--tags", "iri-lb-handler", "-e", "configure_firewall=true")


def test_without_the_variable_no_firewall_is_installed(lb):
    assert lb.host.run("command -v ufw").rc != 0
    lb.sh("systemd-run --quiet --unit other python3 -m http.server --bind 0.0.0.0 8888")
    wait_for("the other server listens", lambda: reachable(8888))
    assert reachable(14267)


def test_ufw_opens_the_required_ports(play, lb):
    play(*ON, "-e", "ssh_port=2222")
    assert "Status: active" in lb.sh("ufw status")
    assert lb.sh("systemctl is-enabled ufw") == "enabled"
    assert rules(lb) == ["ufw allow 14267/tcp", "ufw allow 2222/tcp"]
    assert reachable(14267)
    assert not reachable(8888)


def test_a_second_play_changes_nothing(play):
    assert changed(play(*ON, "-e", "ssh_port=2222")) == 0


def test_somebody_elses_rule_stays(play, lb):
    lb.sh("ufw allow 8888/tcp")
    assert changed(play(*ON)) > 0
    assert rules(lb) == ["ufw allow 14267/tcp", "ufw allow 22/tcp", "ufw allow 8888/tcp"], "SSH has another port now"
    assert reachable(8888)


def test_a_different_firewall_is_refused(play, lb):
    lb.sh("cp /etc/iri-lb-haproxy/firewall.json /root/ && sed -i s/ufw/firewalld/ /etc/iri-lb-haproxy/firewall.json")
    run = play(*ON, check=False)
    lb.sh("mv /root/firewall.json /etc/iri-lb-haproxy/firewall.json")
    assert run.returncode != 0
    assert "Earlier runs opened the ports in firewalld, but now ufw is active" in " ".join(run.stdout.split())


def rules(lb):
    return sorted(line for line in lb.sh("ufw show added").splitlines() if line.startswith("ufw "))
