"""What one check of a token costs a called service: m2mint-keys beside a bare signature check and other libraries."""
import json
import shutil
import subprocess
import sys

from .build import LOAD, TARGET, features, run
from .process import LoadFailed
from .table import Figure, at_least, at_most, section

SOURCE = LOAD / 'checks'
INSTALLED = TARGET / 'load' / 'checks'
WHOLE, CACHED = 1.05, 30  # times a bare check, at most; times cheaper than a whole check, at least


def report(backend, sizes):
    program = TARGET / 'load' / backend
    run(['cargo', 'build', '--release', '--locked', '-p', 'checks', *features(backend), '--target-dir', program], LOAD)
    rounds = max(sizes.runs, 3) * 5
    found = json.loads(output([program / 'release' / 'checks', sizes.requests // 50, rounds]))
    sides = {name: [ns / 1000 for ns in side['ns']] for name, side in found['sides'].items()}
    given = json.dumps({key: found[key] for key in ('token', 'jwks', 'now')})
    if sizes.peer:
        node, python = foreign()
        for command in ([*node, 200, rounds], [*python, 200, rounds]):
            sides.update(json.loads(output(command, given)))
    bare, whole = sides['bare'], sides['m2mint-keys']
    lines = []
    for name, samples in sides.items():
        # A round beside the round of the same number, as far as both were in one process.
        beside = Figure([one / other for one, other in zip(samples, bare)])
        mark = ''
        if name == 'm2mint-keys':
            mark = at_most(round(beside.median, 2), WHOLE)
        if name == 'm2mint-keys, cached':
            cheaper = Figure([other / one for one, other in zip(samples, whole)])
            mark = f'{cheaper.median:.0f} x cheaper than a whole check  {at_least(round(cheaper.median), CACHED)}'
        allocations = found['sides'].get(name, {}).get('allocations', '')
        lines.append([name, Figure(samples).text(2), beside.text(3), str(allocations), mark])
    section(f'CPU time of one check of a token ({len(found["token"])} bytes, backend {backend}), in us',
            ['', 'us', 'x a bare signature check', 'allocations', ''], lines)


def foreign():
    """Commands of the libraries, installed once for each version of their lock files."""
    pip = ['venv/bin/pip', 'install', '--quiet', '--disable-pip-version-check', '--require-hashes', '-r', 'requirements.txt']
    installs = {'package-lock.json': [['npm', 'ci', '--no-audit', '--no-fund', '--loglevel=error']],
                'requirements.txt': [[sys.executable, '-m', 'venv', 'venv'], pip]}
    INSTALLED.mkdir(parents=True, exist_ok=True)
    for file in (SOURCE / 'foreign').iterdir():
        if file.name not in installs:
            shutil.copy(file, INSTALLED)
    for lock, commands in installs.items():
        wanted, installed = SOURCE / 'foreign' / lock, INSTALLED / lock
        if installed.exists() and installed.read_bytes() == wanted.read_bytes():
            continue
        shutil.copy(wanted, installed)
        try:
            for command in commands:
                run(command, INSTALLED)
        except BaseException:
            # The next run must not take this folder for a good one.
            installed.unlink()
            raise
    return ['node', INSTALLED / 'check.js'], [INSTALLED / 'venv' / 'bin' / 'python', INSTALLED / 'check.py']


def output(command, given=''):
    done = subprocess.run([str(word) for word in command], input=given, capture_output=True, text=True)
    if done.returncode:
        raise LoadFailed(f'{command[0]} failed:\n{done.stderr[-4000:]}')
    return done.stdout
