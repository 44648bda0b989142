"""Where a token request spends its time: functions by `perf`, system calls by `strace`."""
import contextlib
import re
import shutil
import signal
import subprocess

from . import build, database, traffic
from .cost import TOKEN, floor_like
from .loader import Side, closed_loop
from .process import LoadFailed
from .table import section
from .traffic import Traffic

FUNCTIONS = 45
WIDEST_NAME = 120
TRACED_REQUESTS = 2_000


def report(backend, binaries, sizes, machine, directory):
    for tool in ('perf', 'strace'):
        if not shutil.which(tool):
            raise LoadFailed(f'--profile needs `{tool}`')
    binary = build.with_symbols(backend)
    clients = database.make(binary, directory / 'profile', sizes.few)
    requests = Traffic.write(directory / 'profile-form', map(traffic.token_form, clients.some(sizes.few)), TOKEN)
    with (clients.serve(binary, machine.server_core) as server,
          floor_like(server, clients.some(1)[0], binaries, machine, directory) as floor):
        recording = directory / 'perf.data'
        with attached(['perf', 'record', '-q', '-e', 'cpu-clock', '-F', '4000', '-o', recording, '-p', server.pid]):
            closed_loop(binaries, machine, Side(server, requests, sizes.requests * 2, sizes.warm_up))
        functions(recording)
        calls = {'m2mint': system_calls(server, binaries, machine, requests, directory),
                 'floor': system_calls(floor, binaries, machine, requests, directory)}
    names = sorted(set(calls['m2mint']) | set(calls['floor']), key=lambda name: -calls['m2mint'].get(name, 0))
    section('System calls a request', ['', 'm2mint', 'floor'],
            [[name, *(f'{calls[side].get(name, 0):.3f}' for side in calls)] for name in names])


def functions(recording):
    listed = subprocess.run(['perf', 'report', '--stdio', '--no-children', '-g', 'none', '-i', recording, '--sort', 'symbol'],
                            capture_output=True, text=True, check=True).stdout
    found = re.findall(r'^\s+([\d.]+%)\s+(\[.\] .+?)(?:\s{2,}.*)?$', listed, re.MULTILINE)
    section('Functions by CPU time of the process', [], [[part, name[:WIDEST_NAME]] for part, name in found[:FUNCTIONS]])


def system_calls(server, binaries, machine, requests, directory):
    summary = directory / f'strace-{server.pid}'
    with attached(['strace', '-q', '-c', '-f', '-o', summary, '-p', server.pid]):
        closed_loop(binaries, machine, Side(server, requests, TRACED_REQUESTS, 0))
    counted = re.findall(r'^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$', summary.read_text(), re.MULTILINE)
    return {name: int(count) / TRACED_REQUESTS for count, name in counted if name != 'total' and int(count) > TRACED_REQUESTS / 500}


@contextlib.contextmanager
def attached(command):
    """A tool that looks at a running process until it is interrupted."""
    tool = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            tool.wait(0.5)
            raise LoadFailed(f'{command[0]} ended at once: {tool.stderr.read()}')
        yield
    finally:
        if tool.poll() is None:
            tool.send_signal(signal.SIGINT)
            tool.wait()
        tool.stderr.close()
