#!/usr/bin/env python3
"""Compares the imports among the packages of src/ with the table in docs/architecture.md, both ways."""

import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = "docs/architecture.md"
ROW = re.compile(r"^\| `([a-z/-]+)` \| ([^|]*) \| [^|]* \|$", re.MULTILINE)


def documented() -> dict[str, set[str]]:
    text = (ROOT / PAGE).read_text(encoding="utf-8").split("\n## In the source\n")[1].split("\n## ")[0]
    return {name: set(re.findall(r"`([a-z/-]+)`", imports)) for name, imports in ROW.findall(text)}


def imported() -> dict[str, set[str]]:
    listed = subprocess.run(["tools/go.sh", "list", "-json=ImportPath,Imports", "./src/..."], cwd=ROOT, check=True, capture_output=True, text=True)
    decoder, text, packages = json.JSONDecoder(), listed.stdout.strip(), {}
    while text:
        package, end = decoder.raw_decode(text)
        text = text[end:].lstrip()
        packages[short(package["ImportPath"])] = {short(i) for i in package.get("Imports", []) if "/src/internal/" in i}
    return packages


def short(path: str) -> str:
    """src/internal/pool is pool, src/cmd/iri-lb-handler is cmd/iri-lb-handler."""
    return path.split("/src/")[1].removeprefix("internal/")


def main() -> int:
    want, have = documented(), imported()
    wrong = []
    for name in sorted(want.keys() | have.keys()):
        if name not in have:
            wrong.append(f"{PAGE} has the package {name}, which does not exist")
        elif name not in want:
            wrong.append(f"{PAGE} does not have the package {name}; add a row to the table under 'In the source'")
        else:
            wrong += [f"{name} imports {i}, which {PAGE} does not allow" for i in sorted(have[name] - want[name])]
            wrong += [f"{PAGE} says that {name} imports {i}; it does not" for i in sorted(want[name] - have[name])]
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
