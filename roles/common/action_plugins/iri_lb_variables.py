"""Fails if somebody has set a variable that has no effect, and names the place and what to do about it.

Two kinds: a name that is not one of the playbook's but nearly so, and a value that another file overrules, because Ansible reads
the playbook's group_vars/all after the group variables of the inventory. Other unknown names are a warning.
"""

import difflib
import os
import re
from typing import NamedTuple

from ansible.inventory.manager import InventoryManager
from ansible.module_utils.common.text.converters import to_text
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

ALIKE = 0.85  # of difflib's ratio: one or two letters in a name
OVERRIDE = "group_vars/all/z-override.yml"


class Source(NamedTuple):
    """A place that sets variables."""

    where: str
    values: dict
    advice: str = ""  # where a value that is overruled there belongs


def unknown(sources, known):
    """The names that are nearly one of the known ones, and those that only look like ours, as sentences."""
    families = {name.partition("_")[0] for name in known}
    wrong, odd = [], []
    for source in sources:
        for name in source.values:
            if name in known or is_used(name, sources):
                continue
            if alike := difflib.get_close_matches(name, known, 1, ALIKE):
                wrong.append(f"{name} ({source.where}) has no effect; did you mean {alike[0]}?")
            elif name.partition("_")[0] in families:
                odd.append(f"{name} ({source.where}) has no effect: the playbook has no such variable.")
    return wrong, odd


def is_used(name, sources):
    """Whether the value of another variable mentions it: somebody's own name for a part of a value."""
    mention = re.compile(rf"\b{re.escape(name)}\b")
    return any(other != name and mention.search(str(value)) for source in sources for other, value in source.values.items())


def overruled(weak, files, strong, known):
    """The values in weak that do not hold because one of files says otherwise, as sentences.

    What strong sets holds whatever the others say: somebody has made an exception for a host or a group.
    """
    wins = winners(files)
    settled = winners(strong)
    return [
        f"{name} ({source.where}) has no effect: {wins[name].where} overrules it. {source.advice}"
        for source in weak
        for name, value in source.values.items()
        if name in known and name in wins and name not in settled and str(value) != str(wins[name].values[name])
    ]


def winners(sources):
    return {name: source for source in sources for name in source.values}


def too_early(files, defaults):
    """Of the files in group_vars/all those that are not the playbook's own, with what the playbook's own overrule."""
    wins = winners(files)
    return [
        source._replace(values={name: value for name, value in source.values.items() if os.path.basename(wins[name].where) in defaults})
        for source in files
        if os.path.basename(source.where) not in defaults
    ]


class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        known, defaults = self._task.args["known"], self._task.args["defaults"]
        self.playbook = task_vars["playbook_dir"]
        self.inventories = task_vars.get("ansible_inventory_sources") or []
        self.inventory = InventoryManager(loader=self._loader, sources=self.inventories)
        everywhere = [Source("-e", load_extra_vars(self._loader))]
        files = self.files(self.playbook, "group_vars", "all")
        wrong, odd = [], []
        for host in filter(None, map(self.inventory.get_host, task_vars["ansible_play_hosts_all"])):
            weak = self.weak(host) + too_early(files, defaults)
            strong = self.strong(host) + everywhere
            theirs = [source for source in files if os.path.basename(source.where) not in defaults]
            misnamed, others = unknown([*weak, *theirs, *strong], known)
            wrong += misnamed + overruled(weak, files, strong, known)
            odd += others
        if odd:
            result["warnings"] = list(dict.fromkeys(odd))
        if wrong:
            result.update(failed=True, msg="\n".join(["Wrong variables:", *dict.fromkeys(wrong)]))
        return result

    def weak(self, host):
        """What Ansible reads before the playbook's group_vars/all."""
        name = " and ".join(self.shown(str(source)) for source in self.inventories)
        sources = [Source(f"group {group.name} in {name}", group.vars, f"Set it in {self.belongs(group.name)}.") for group in host.get_groups()]
        for folder in self.inventory_folders():
            sources += self.files(folder, "group_vars", "all")
        # A file beside the folder of the same name is not read at all.
        for extension in (".yml", ".yaml", ".json"):
            path = os.path.join(self.playbook, "group_vars", "all" + extension)
            if os.path.isfile(path) and os.path.isdir(os.path.splitext(path)[0]):
                sources.append(self.source(path))
        return sources

    def strong(self, host):
        """What Ansible reads after the playbook's group_vars/all."""
        sources = [Source(f"host {host.name}", host.vars)]
        for folder in [*self.inventory_folders(), self.playbook]:
            for group in host.get_groups():
                if group.name != "all":
                    sources += self.files(folder, "group_vars", group.name)
            sources += self.files(folder, "host_vars", host.name)
        return sources

    def inventory_folders(self):
        paths = [os.path.abspath(str(source)) for source in self.inventories if os.path.exists(str(source))]
        folders = dict.fromkeys(path if os.path.isdir(path) else os.path.dirname(path) for path in paths)
        return [folder for folder in folders if os.path.realpath(folder) != os.path.realpath(self.playbook)]

    def files(self, folder, kind, name):
        return [self.source(to_text(path)) for path in self._loader.find_vars_files(os.path.join(folder, kind), name)]

    def source(self, path):
        return Source(self.shown(path), self._loader.load_from_file(path) or {}, f"Set it in {OVERRIDE}.")

    def shown(self, path):
        below = os.path.relpath(path, self.playbook)
        return path if below.startswith("..") else below

    @staticmethod
    def belongs(group):
        return OVERRIDE if group in ("all", "ungrouped") else f"group_vars/{group}.yml, beside site.yml"
