"""configure_firewall with firewalld, which is installed but inactive. Starts on a host without the installation."""

from conftest import reachable

ON = ("-e", "configure_firewall=true", "-e", "ssh_port=2222")


def test_firewalld_opens_the_required_ports(play, lb):
    lb.sh("apt-get -qq purge --yes ufw && apt-get -qq install --yes firewalld && systemctl disable --now firewalld")
    assert reachable(8888)
    play(*ON)
    assert lb.sh("firewall-cmd --state; systemctl is-enabled firewalld").split() == ["running", "enabled"]
    assert sorted(lb.sh("firewall-cmd --list-ports").split()) == ["14267/tcp", "2222/tcp"]
    assert reachable(14267)
    assert not reachable(8888)


def test_the_uninstall_closes_it(play, lb):
    lb.sh("firewall-cmd --permanent --add-port 8888/tcp && firewall-cmd --reload")
    play("--tags=uninstall", "-e", "uninstall_playbook=yes")
    assert lb.host.run("systemctl is-active firewalld").stdout.strip() == "inactive"
    assert lb.host.run("systemctl is-enabled firewalld").stdout.strip() == "disabled"
    assert lb.sh("firewall-offline-cmd --list-ports") == "8888/tcp", "somebody else's rule"
    assert not lb.host.file("/etc/iri-lb-haproxy").exists
