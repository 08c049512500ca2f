"""Row 4 with ufw: it opens what is needed and nothing else. test_90 uninstalls it, test_95 has firewalld."""

from conftest import changed, reachable, wait_for

# A part of the installation is enough, and quicker: every part prepares the host.
ON = ("--tags", "iri-lb-handler", "-e", "configure_firewall=true")


def test_without_the_variable_there_is_no_firewall(lb):
    assert lb.host.run("command -v ufw").rc != 0
    lb.sh("systemd-run --quiet --unit other python3 -m http.server --bind 0.0.0.0 8888")
    wait_for("the other server listens", lambda: reachable(8888))
    assert reachable(14267)


def test_ufw_opens_what_is_needed(play, lb):
    play(*ON, "-e", "ssh_port=2222")
    assert "Status: active" in lb.sh("ufw status")
    assert lb.sh("systemctl is-enabled ufw") == "enabled"
    assert rules(lb) == ["ufw allow 14267/tcp", "ufw allow 2222/tcp"]
    assert reachable(14267)
    assert not reachable(8888)


def test_the_second_play_changes_nothing(play):
    assert changed(play(*ON, "-e", "ssh_port=2222")) == 0


def test_a_rule_of_somebody_else_stays(play, lb):
    lb.sh("ufw allow 8888/tcp")
    assert changed(play(*ON)) > 0
    assert rules(lb) == ["ufw allow 14267/tcp", "ufw allow 22/tcp", "ufw allow 8888/tcp"], "SSH has another port now"
    assert reachable(8888)


def test_another_firewall_is_not_mixed_with_it(play, lb):
    lb.sh("cp /etc/iri-lb-haproxy/firewall.json /root/ && sed -i s/ufw/firewalld/ /etc/iri-lb-haproxy/firewall.json")
    run = play(*ON, check=False)
    lb.sh("mv /root/firewall.json /etc/iri-lb-haproxy/firewall.json")
    assert run.returncode != 0
    assert "have opened the ports in firewalld, but now ufw is on" in " ".join(run.stdout.split())


def rules(lb):
    return sorted(line for line in lb.sh("ufw show added").splitlines() if line.startswith("ufw "))
