"""Crates that the server is built from in two versions: only those that others cannot do without yet."""

import collections
import subprocess
import sys

KNOWN = {
    "getrandom": "ring 0.17 stays at 0.2",
    "http": "actix-web and h2 stay at 0.2",
    "lock_api": "parking_lot",
    "parking_lot": "tokio stays at 0.12",
    "parking_lot_core": "parking_lot",
    "syn": "runs at build time only; some macros stay at 2",
}

command = ["cargo", "tree", "--locked", "-p", "m2mint", "-e", "normal", "--prefix", "none", "--format", "{p}"]
lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
versions = collections.defaultdict(set)
for name, version in (line.split()[:2] for line in lines if line):
    versions[name].add(version)
double = {name for name, found in versions.items() if len(found) > 1}
problems = [f"{name} comes as {', '.join(sorted(versions[name]))}" for name in sorted(double - KNOWN.keys())]
problems += [f"{name} comes in one version by now: take it off the list" for name in sorted(KNOWN.keys() - double)]
print("\n".join(problems) or f"{len(versions)} crates, {len(double)} of them in two versions, with a reason")
sys.exit(bool(problems))
