"""Builds what is measured, and what measures."""
import dataclasses
import os
import shutil
import subprocess
from pathlib import Path

from .process import LoadFailed

LOAD = Path(__file__).resolve().parent.parent
ROOT = LOAD.parent.parent
TARGET = ROOT / 'target'
PEER = TARGET / 'load' / 'peer'


@dataclasses.dataclass(frozen=True)
class Binaries:
    m2mint: Path
    floor: Path
    loader: Path
    peer: Path | None


def everything(backend, with_peer):
    programs = TARGET / 'load'
    floors = programs / backend
    run(['cargo', 'build', '--release', '--locked', '-p', 'loader', '--target-dir', programs], LOAD)
    run(['cargo', 'build', '--release', '--locked', '-p', 'floor', *features(backend), '--target-dir', floors], LOAD)
    return Binaries(m2mint(backend), floors / 'release' / 'floor', programs / 'release' / 'loader', peer() if with_peer else None)


def m2mint(backend):
    if named := os.environ.get('M2MINT_BIN'):
        return Path(named).resolve()
    target = TARGET if backend == 'ring' else TARGET / backend
    run(['cargo', 'build', '--release', *features(backend), '--target-dir', target], ROOT)
    return target / 'release' / 'm2mint'


def with_symbols(backend):
    """m2mint as it is measured, with the names of its functions."""
    target = TARGET / 'load' / f'{backend}-symbols'
    symbols = {'CARGO_PROFILE_RELEASE_STRIP': 'none', 'CARGO_PROFILE_RELEASE_DEBUG': 'line-tables-only'}
    run(['cargo', 'build', '--release', *features(backend), '--target-dir', target], ROOT, symbols)
    return target / 'release' / 'm2mint'


def features(backend):
    return [] if backend == 'ring' else ['--no-default-features', '--features', backend]


def peer():
    """The peer with its packages, installed once for each version of the lock file."""
    PEER.mkdir(parents=True, exist_ok=True)
    lock, installed = LOAD / 'peer' / 'package-lock.json', PEER / 'package-lock.json'
    fresh = installed.exists() and (PEER / 'node_modules').exists() and installed.read_bytes() == lock.read_bytes()
    for file in (LOAD / 'peer').iterdir():
        if file.is_file():
            shutil.copy(file, PEER)
    if not fresh:
        try:
            run(['npm', 'ci', '--no-audit', '--no-fund', '--loglevel=error'], PEER)
        except BaseException:
            # The next run must not take this folder for a good one.
            installed.unlink()
            raise
    return PEER / 'serve.js'


def run(command, directory, environment=None):
    done = subprocess.run([str(word) for word in command], cwd=directory, env={**os.environ, **(environment or {})},
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise LoadFailed(f"{' '.join(map(str, command))} failed:\n{done.stdout[-4000:]}")
