"""Every direct dependency has a line in deploy/SUPPLY-CHAIN.md, and every line a direct dependency."""

import json
import re
import subprocess
import sys

command = ["cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"]
packages = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["packages"]
ours = {package["name"] for package in packages}
named = {dependency["name"] for package in packages for dependency in package["dependencies"]} - ours
shipped = {
    dependency["name"]
    for package in packages
    for dependency in package["dependencies"]
    if dependency["kind"] != "dev"
} - ours

rows = []
section = ""
for line in open("deploy/SUPPLY-CHAIN.md"):
    section = line[3:].strip() if line.startswith("## ") else section
    if row := re.match(r"\| `([^`]+)` \| (.+) \| (.+) \| (.+) \|$", line):
        rows.append((row[1], section))
explained = {name for name, _ in rows}
problems = [f"{name} is not explained" for name in sorted(named - explained)]
problems += [f"{name} is explained, and nobody depends on it" for name in sorted(explained - named)]
problems += [f"{name} is explained twice" for name in sorted(explained) if sum(name == row for row, _ in rows) > 1]
problems += [
    f"{name} stands under {section!r}, and {'is' if name in shipped else 'is not'} shipped"
    for name, section in rows
    if name in named and (section == "In tests only") == (name in shipped)
]
print("\n".join(problems) or f"{len(rows)} direct dependencies")
sys.exit(bool(problems))
