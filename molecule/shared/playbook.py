"""What the tests of all scenarios share: the playbook, its recap, and waiting."""

import os
import subprocess
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def run_playbook(*arguments, check=True, folder=REPOSITORY, playbook="site.yml"):
    """Runs a playbook as a user would, and returns the process; with check it must succeed."""
    command = ["ansible-playbook", "-i", os.environ["MOLECULE_INVENTORY_FILE"], playbook, *arguments]
    # Without Molecule's own settings: with the repository's ansible.cfg, as a user has it, and without colours.
    env = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")} | {"ANSIBLE_NOCOLOR": "1"}
    run = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=1200)
    if check:
        assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    return run


def changed(run, host):
    """How many tasks changed something on a host; None for a host that was left out."""
    recap = [line for line in run.stdout.splitlines() if line.startswith(f"{host} ") and "changed=" in line]
    return int(recap[-1].split("changed=")[1].split()[0]) if recap else None


def wait_for(what, condition, seconds=20):
    """Waits until condition() is true, and returns its result."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"not seen within {seconds} s: {what}"
        time.sleep(0.2)
