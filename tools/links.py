#!/usr/bin/env python3
"""Checks that every relative link in the Markdown files leads to a file, and every anchor to a heading. Usage: tools/links.py"""

import re
import subprocess
import sys
from pathlib import Path


def text(path):
    return re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S)


def anchors(path):
    """GitHub's: lower case, without punctuation, dashes for spaces."""
    titles = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", t) for t in re.findall(r"^#+ +(.*)", text(path), re.M)]
    return {re.sub(r"[^\w\- ]", "", t.strip().lower()).replace(" ", "-") for t in titles}


broken = []
files = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"], capture_output=True, text=True, check=True)
for page in map(Path, files.stdout.split()):
    for link in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", text(page)):
        target, _, anchor = link.partition("#")
        file = (page.parent / target) if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(f"{page}: {link}")
sys.exit("\n".join(["broken links:", *broken]) if broken else 0)
