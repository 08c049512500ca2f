"""Mistakes of an operator: names and places that have no effect, folders of others, a host that is broken."""

import importlib.util
import json
import shutil

import pytest

from conftest import HOST, REPOSITORY, changed, wait_for

KNOWN = ["haproxy_tag", "haproxy_users", "consul_tag", "ssh_port"]


def plugin():
    """The action plugin, whose rules need no host."""
    spec = importlib.util.spec_from_file_location("iri_lb_variables", REPOSITORY / "roles/common/action_plugins/iri_lb_variables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def said(run):
    """What a play printed, with its warnings, without the line ends and quotes that Ansible adds."""
    return " ".join((run.stdout + run.stderr).split()).replace('\\"', '"').replace("''", "'")


def refused(play, *arguments, **options):
    """What a play printed that stopped before it changed anything."""
    run = play(*arguments, check=False, **options)
    assert run.returncode != 0, run.stdout[-3000:]
    assert changed(run) == 0
    return said(run)


@pytest.mark.parametrize("name, wrong, odd", [
    ("haproxy_tag", 0, 0),  # known
    ("haproxy_tagg", 1, 0),
    ("haproxytag", 1, 0),
    ("haproxy_nameservers", 0, 1),
    ("mysql_port", 0, 0),  # somebody else's
])  # fmt: skip
def test_unknown_names(name, wrong, odd):
    found = plugin().unknown([plugin().Source("z.yml", {name: 1})], KNOWN)
    assert tuple(map(len, found)) == (wrong, odd), found


def test_a_name_that_another_value_mentions_has_an_effect():
    values = {"haproxy_tagg": "2.8", "haproxy_tag": "{{ haproxy_tagg }}"}
    assert plugin().unknown([plugin().Source("z.yml", values)], KNOWN) == ([], [])


@pytest.mark.parametrize("weak, files, strong, count", [
    ({"consul_tag": "1"}, [("consul.yml", {"consul_tag": "2"})], {}, 1),
    ({"consul_tag": "2"}, [("consul.yml", {"consul_tag": "2"})], {}, 0),  # the same
    ({"consul_tag": "1"}, [("consul.yml", {"consul_tag": "2"})], {"consul_tag": "3"}, 0),  # an exception for this host
    ({"consul_tag": "1"}, [("consul.yml", {"consul_tag": "2"}), ("z.yml", {"consul_tag": "1"})], {}, 0),
    ({"mysql_port": "1"}, [("z.yml", {"mysql_port": "2"})], {}, 0),
])  # fmt: skip
def test_overruled_values(weak, files, strong, count):
    module = plugin()
    found = module.overruled([module.Source("inventory", weak)], [module.Source(*file) for file in files], [module.Source("host", strong)], KNOWN)
    assert len(found) == count, found


def test_a_file_that_is_read_before_the_defaults():
    module = plugin()
    files = [module.Source("a.yml", {"consul_tag": "1"}), module.Source("consul.yml", {"consul_tag": "2"}), module.Source("z.yml", {"ssh_port": 1})]
    early = module.too_early(files, ["consul.yml"])
    assert [source.values for source in early] == [{"consul_tag": "1"}, {}]
    # Two files of the operator's may overrule each other.
    files.append(module.Source("z2.yml", {"consul_tag": "3"}))
    assert not any(source.values for source in module.too_early(files, ["consul.yml"]))


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the playbook, for files of the operator's."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("site.yml", "ansible.cfg"):
        shutil.copy(REPOSITORY / name, folder)
    for name in ("roles", "group_vars"):
        shutil.copytree(REPOSITORY / name, folder / name)
    return folder


def test_misspelt_and_misplaced_variables_stop_the_play(play, copy, tmp_path):
    (copy / "group_vars/all/z-override.yml").write_text("haproxy_tagg: '2.8'\nhaproxy_nameservers: []\n")
    (copy / "group_vars/all/a-mine.yml").write_text("max_backend_slots: 50\n")
    (copy / "group_vars/all.yml").write_text("max_backend_slots: 60\n")
    inventory = tmp_path / "more.yml"
    # Molecule's inventory sets haproxy_image_archive for the host, which is an exception and may differ.
    inventory.write_text("all: {vars: {consul_bind_address: 192.0.2.1, haproxy_image_archive: /nowhere}}\n"
                         f"haproxy: {{hosts: {{{HOST}: }}, vars: {{lb_max_connections: 2000}}}}\n")  # fmt: skip
    text = refused(play, "-i", str(inventory), "-e", "consul_tga=1", folder=copy)
    assert "haproxy_tagg (group_vars/all/z-override.yml) has no effect; did you mean haproxy_tag?" in text
    assert "consul_tga (-e) has no effect; did you mean consul_tag?" in text
    assert "consul_bind_address (group all in" in text
    assert "group_vars/all/consul.yml overrules it. Set it in group_vars/all/z-override.yml." in text
    assert "lb_max_connections (group haproxy in" in text
    assert "Set it in group_vars/haproxy.yml, beside site.yml." in text
    assert "max_backend_slots (group_vars/all/a-mine.yml) has no effect: group_vars/all/haproxy.yml overrules it." in text
    assert "max_backend_slots (group_vars/all.yml) has no effect" in text
    assert "haproxy_image_archive (" not in text
    assert "haproxy_nameservers (group_vars/all/z-override.yml) has no effect: the playbook has no such variable." in text


def test_a_text_is_no_list(play):
    text = refused(play, "-e", json.dumps({"haproxy_whitelist": "10.0.0.1", "haproxy_users": "a=b", "haproxy_more_pools": None}))
    assert "haproxy_whitelist is the text 10.0.0.1; allowed: a list." in text
    assert "haproxy_users is the text a=b; allowed: a mapping." in text
    assert "haproxy_more_pools is null; allowed: a list." in text
    assert "haproxy_whitelist has" not in text  # not one message for each character


@pytest.mark.parametrize("variables, expected", [
    ({"consul_data_dir": "/etc"}, ["consul_data_dir is /etc, where", "allowed: a folder that does not exist, or an empty one."]),
    ({"haproxy_state_dir": "/usr", "haproxy_state_file": "/usr/state", "iri_lb_scripts_dir": "/usr/local/bin"},
     ["haproxy_state_dir is /usr, where", "or one that is named haproxy.", "iri_lb_scripts_dir is /usr/local/bin, where"]),
    ({"consul_config_dir": "/var/lib/consul"}, ["consul_config_dir and consul_data_dir are the same folder, /var/lib/consul"]),
    ({"haproxy_state_file": "/etc/passwd", "consul_data_dir": "/var/lib/consul/.."},
     ['haproxy_state_file is "/etc/passwd"; allowed: a file in /var/lib/haproxy', 'consul_data_dir is "/var/lib/consul/.."']),
])  # fmt: skip
def test_folders_of_others_are_left_alone(play, variables, expected):
    text = refused(play, "-e", json.dumps(variables))
    for part in expected:
        assert part in text


def test_an_uninstall_with_a_wrong_folder_removes_nothing(play, lb):
    run = play("--tags=uninstall", "-e", "uninstall_playbook=yes", "-e", "iri_lb_record_dir=/etc")
    assert changed(run) == 0
    assert lb.host.file("/etc/passwd").exists


def test_a_run_of_a_part_waits_until_the_load_balancer_is_ready(play, lb):
    lb.sh("systemctl stop consul")
    try:
        wait_for("not ready", lambda: lb.sh("curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9294/readyz") == "503", 60)
        run = play("--tags", "haproxy", check=False)
    finally:
        lb.sh("systemctl start consul")
    assert run.returncode != 0
    assert "The handler is not ready after 30 s" in said(run)
    wait_for("ready", lambda: lb.sh("curl -s http://127.0.0.1:9294/readyz") == "ready", 60)


def crash(lb, unit, file):
    """Breaks the configuration of a unit by hand, and waits until it crashes again and again."""
    lb.sh(f"echo nonsense >> {file} && systemctl restart {unit} || true")
    wait_for(f"{unit} crashes", lambda: int(lb.sh(f"systemctl show {unit} -p NRestarts --value")) > 1, 60)


def test_a_run_mends_units_that_crash(play, lb):
    left = "/var/tmp/iri-lb-haproxy-consul.tar"  # by a run that was stopped while Docker loaded it
    try:
        crash(lb, "consul", "/etc/consul/consul.json")
        crash(lb, "iri-lb-handler", "/etc/iri-lb-handler/config.yml")
        lb.sh(f"touch {left}")
        play("--tags", "consul,iri-lb-handler")
    finally:
        play()
    assert not lb.host.file(left).exists
    lb.wait_up("127.0.0.11", seconds=40)


def test_a_run_mends_haproxy_when_it_crashes(play, lb):
    crash(lb, "haproxy", "/etc/haproxy/haproxy.cfg")
    try:
        play("--tags", "haproxy")
    finally:
        # Whatever came of it, the file is right now.
        lb.sh("systemctl restart haproxy")
    lb.wait_up("127.0.0.11", seconds=40)
    assert lb.wallet("getNodeInfo")[0] == 200


def test_the_uninstall_knows_the_files_with_images(lb):
    made = json.loads(lb.sh("cat /etc/iri-lb-haproxy/installed.json"))["made"]
    assert {"path:/var/tmp/iri-lb-haproxy-consul.tar", "path:/var/tmp/iri-lb-haproxy-haproxy.tar"} <= set(made)


def test_a_lost_secret_is_made_anew_and_the_others_stay(play, lb):
    hashes = "cd /etc/consul && sha256sum consul_master_token consul_agent_token consul_handler_token consul_key"
    before = lb.sh(hashes).splitlines()
    lb.sh("rm /etc/consul/consul_agent_token")
    play("--tags", "consul")
    after = lb.sh(hashes).splitlines()
    assert [old == new for old, new in zip(before, after)] == [True, False, True, True]


def test_a_token_of_an_older_version_may_do_more_after_a_run(play, lb):
    def policy(options=""):
        url = f"http://localhost:8500/v1/acl/policy/{number if options else 'name/iri-lb-handler'}"
        return json.loads(lb.operator(f'curl -sS --fail-with-body -H "X-Consul-Token: $CONSUL_HTTP_TOKEN" {options} {url}'))

    number, rules = policy()["ID"], policy()["Rules"]
    assert "key_prefix" in rules
    old = json.dumps({"Name": "iri-lb-handler", "Rules": rules[: rules.index("key_prefix")]})
    try:
        policy(f"-X PUT -d '{old}'")
        wait_for("what to do", lambda: "run the playbook, which extends the token's policy" in lb.sh("journalctl -u iri-lb-handler --no-pager -n 20"), 60)
        assert lb.sh("curl -s http://127.0.0.1:9294/readyz").startswith("ready")
    finally:
        run = play("--tags", "consul")
    assert changed(run) == 1
    assert policy()["Rules"] == rules
    wait_for("the next report", lambda: "other hosts see this host's state again" in lb.sh("journalctl -u iri-lb-handler --no-pager -n 20"), 60)
