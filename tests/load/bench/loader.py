"""Runs the loader on its own core."""
import contextlib
import json
import subprocess

from .process import LoadFailed
from .sizes import CONNECTIONS


def closed_loop(binaries, machine, server, traffic, requests, warm_up):
    """CPU time a request and requests a second, with every connection busy."""
    plan = _plan(server, traffic, requests, warm_up)
    with _started(binaries, machine, plan) as process:
        return _report(process)


@contextlib.contextmanager
def open_loop(binaries, machine, server, traffic, requests, warm_up, rate, beside=None):
    """Latencies at a given rate. Inside the `with` the load is on; what is yielded waits for its report."""
    plan = _plan(server, traffic, requests, warm_up)
    plan['open'] = {'rate': rate, 'beside': beside}
    with _started(binaries, machine, plan) as process:
        yield lambda: _report(process)


def _plan(server, traffic, requests, warm_up):
    return {'address': f'127.0.0.1:{server.port}', 'pid': server.pid, 'connections': CONNECTIONS,
            'warm_up': warm_up, 'requests': requests, 'traffic': traffic.plan()}


@contextlib.contextmanager
def _started(binaries, machine, plan):
    process = subprocess.Popen(
        ['taskset', '-c', str(machine.loader_core), str(binaries.loader)], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        process.stdin.write(json.dumps(plan))
        process.stdin.close()
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def _report(process):
    output, errors = process.stdout.read(), process.stderr.read()
    if process.wait():
        raise LoadFailed(errors.strip())
    return json.loads(output)
