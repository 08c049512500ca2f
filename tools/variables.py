#!/usr/bin/env python3
"""Writes docs/variables.md from the roles' argument specs and from group_vars/all.

Fails when a variable stands in one of them and not in the other, so that each one has a type, a meaning and a default.
Usage: tools/variables.py [--check]      --check: write nothing, fail when the file is not up to date
"""

import json
import sys
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
TABLE = REPOSITORY / "docs/variables.md"
HEAD = """# Variables

Made by `tools/variables.py` from the roles' `meta/argument_specs.yml` and from `group_vars/all/`, where the comments say more. Put your own
values into `group_vars/all/z-override.yml`. A wrong type or value stops the play before anything is changed.
"""


def read(path):
    return yaml.safe_load(path.read_text())


def defaults():
    """The variables in the order of the files: {file: {name: value}}."""
    files = sorted((REPOSITORY / "group_vars/all").glob("[!z]*.yml"))
    return {path.name: read(path) for path in files}


def specs():
    """Type and description of each variable."""
    options = {}
    for path in sorted((REPOSITORY / "roles").glob("*/meta/argument_specs.yml")):
        options |= read(path)["argument_specs"]["main"]["options"]
    return options


def row(name, value, spec):
    shown = json.dumps(value) if not isinstance(value, str) else value or '""'
    kind = spec["type"] + (f" ({', '.join(spec['choices'])})" if "choices" in spec else "")
    # Markdown takes a bar for the end of the cell, within code too.
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in (f"`{name}`", kind, f"`{shown}`", spec["description"])) + " |"


def render(files, options):
    lines = [HEAD]
    for file, variables in files.items():
        lines += [f"## {file}", "", "| variable | type | default | meaning |", "|---|---|---|---|"]
        lines += [row(name, value, options[name]) for name, value in variables.items()]
        lines.append("")
    return "\n".join(lines)


def main():
    files, options = defaults(), specs()
    names = {name for variables in files.values() for name in variables}
    if odd := names ^ options.keys():
        sys.exit(f"variables.py: in group_vars/all or in an argument_specs.yml, but not in both: {', '.join(sorted(odd))}")
    text = render(files, options)
    if "--check" not in sys.argv:
        TABLE.write_text(text)
    elif not TABLE.exists() or TABLE.read_text() != text:
        sys.exit("variables.py: docs/variables.md is not up to date; run tools/variables.py")


main()
