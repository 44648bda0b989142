"""Runs the loader on its own core."""
import contextlib
import dataclasses
import json
import subprocess

from .process import LoadFailed, Server
from .sizes import CONNECTIONS
from .traffic import Traffic


@dataclasses.dataclass(frozen=True)
class Side:
    """A server, what is sent to it, and how much: before the measurement, and in all."""
    server: Server
    traffic: Traffic
    requests: int
    warm_up: int

    def plan(self, slices):
        return {'address': self.server.address, 'pid': self.server.pid, 'warm_up': self.warm_up,
                'requests': max(self.requests // slices, 1), 'traffic': self.traffic.plan()}


def closed_loop(binaries, machine, *sides, slices=1):
    """What a request costs each side, slice by slice, with every connection busy."""
    plan = {'closed': {'connections': CONNECTIONS, 'slices': slices, 'sides': [side.plan(slices) for side in sides]}}
    with _started(binaries, machine, plan) as process:
        return _report(process)


@contextlib.contextmanager
def open_loop(binaries, machine, side, rate, beside=None):
    """Latencies at a given rate. Inside the `with` the load is on; what is yielded waits for its report."""
    plan = {'open': {'address': side.server.address, 'connections': CONNECTIONS, 'warm_up': side.warm_up,
                     'requests': side.requests, 'rate': rate, 'traffic': side.traffic.plan(), 'beside': beside}}
    with _started(binaries, machine, plan) as process:
        yield lambda: _report(process)


def overload(binaries, machine, server, requests, rate, seconds, connections, patient, beside):
    """What becomes of requests at a rate that the server cannot answer."""
    plan = {'overload': {'address': server.address, 'connections': connections, 'seconds': seconds, 'rate': rate,
                         'patient': patient, 'traffic': requests.plan(), 'beside': beside}}
    with _started(binaries, machine, plan) as process:
        return _report(process)


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
