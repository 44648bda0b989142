"""The bill of materials of the binary: complete, with licences, without a word about the machine that wrote it."""

import json
import os
import pathlib
import subprocess
import sys

folder, kept = map(pathlib.Path, sys.argv[1:])
bills = {path: json.loads(path.read_text()) for path in folder.glob("m2mint-sbom*.json")}
of_server = [bill for bill in bills.values() if bill["metadata"]["component"]["name"] == "m2mint"]
if len(of_server) != 1:
    sys.exit(f"{len(of_server)} bills of m2mint among {sorted(map(str, bills))}")
text = json.dumps(of_server[0], indent=2, sort_keys=True).replace(os.getcwd(), "/m2mint")
bill = json.loads(text)

command = ["cargo", "tree", "--locked", "-p", "m2mint", "-e", "normal", "--target", "x86_64-unknown-linux-gnu"]
command += ["--prefix", "none", "--format", "{p}"]
lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
shipped = {tuple(line.split()[:2]) for line in lines if line} - {("m2mint", bill["metadata"]["component"]["version"])}
shipped = {(name, version.removeprefix("v")) for name, version in shipped} - {("m2mint", bill["metadata"]["component"]["version"])}
listed = {(one["name"], one["version"]): one for one in bill["components"]}
problems = [f"{name} {version} is missing" for name, version in sorted(shipped - listed.keys())]
problems += [f"{name} {version} has no licence" for (name, version), one in sorted(listed.items()) if not one.get("licenses")]
problems += [
    f"{name} {version} has no checksum"
    for (name, version), one in sorted(listed.items())
    if not one.get("hashes") and name != "m2mint-keys"
]
if os.path.expanduser("~") in text:
    problems.append("it names the home folder of whoever wrote it")
if not problems:
    kept.write_text(text + "\n")
print("\n".join(problems) or f"CycloneDX {bill['specVersion']}, {len(listed)} components")
sys.exit(bool(problems))
