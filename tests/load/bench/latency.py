"""How long a token takes at half of what one core can do, quiet, and while keys rotate and clients are added."""
import base64
import json
import signal
import time

from . import database, traffic
from .cost import TOKEN, floor_like, token
from .loader import Side, open_loop
from .process import LoadFailed
from .table import Figure, at_most, section
from .traffic import Traffic

TARGET = 5  # p99 over p50
WRITES = 100  # a second
ROTATION_SECONDS = 5


def report(binaries, sizes, machine, directory, capacity):
    rate = capacity / 2
    floor_runs, quiet, busy = [], [], []
    for run in range(sizes.latency_runs):
        # A file for each run: rotations of the runs before would make the next one wait.
        clients = database.make(binaries.m2mint, directory / f'latency-{run}', sizes.few)
        sample = clients.some(sizes.few)
        requests = Traffic.write(directory / 'latency', map(traffic.token_form, sample), TOKEN)
        writes = Traffic.write(directory / 'writes', map(traffic.new_client, range(1000)), '"status":"OK"')
        beside = {'rate': WRITES, 'traffic': writes.plan()}
        count = int(rate * sizes.latency_seconds)
        with (clients.serve(binaries.m2mint, machine.server_core, M2MINT_ROTATION__PROPAGATION='1s') as server,
              floor_like(server, sample[0], binaries, machine, directory) as floor):
            for each, runs in [(floor, floor_runs), (server, quiet)]:
                with open_loop(binaries, machine, Side(each, requests, count, count // 10), rate) as finished:
                    runs.append(finished())
            before = signing_kid(server, sample[0])
            with open_loop(binaries, machine, Side(server, requests, count, count // 10), rate, beside) as finished:
                time.sleep(sizes.latency_seconds / 2)
                server.signal(signal.SIGUSR1)
                busy.append(finished())
            await_rotation(server, sample[0], before)
    print_latencies(rate, floor_runs, quiet, busy, sizes.latency_seconds * 1.1)


def print_latencies(rate, floor_runs, quiet, busy, seconds):
    writes = Figure(run['beside'] / seconds for run in busy).median
    lines = []
    for name, runs, target in [('floor, quiet', floor_runs, None), ('m2mint, quiet', quiet, TARGET),
                               (f'm2mint, 1 rotation and {writes:.0f} new clients a second', busy, TARGET)]:
        ratio = Figure(run['p99_us'] / run['p50_us'] for run in runs)
        lines.append([name, *(Figure(run[key] for run in runs).text(0) for key in ('p50_us', 'p99_us', 'max_us')),
                      ratio.text(), at_most(round(ratio.median, 1), target) if target else ''])
    section(f'Latency of a token in us at half load ({rate:,.0f} a second, arrivals at random, waiting included)',
            ['', 'p50', 'p99', 'max', 'p99/p50', ''], lines)
    waited = max(run['kept_waiting'] for run in [*floor_runs, *quiet, *busy])
    if waited > 0.01:
        print(f'  Other programs kept the loader from its core for up to {waited:.0%} of a run: these latencies are too high.')


def signing_kid(server, client):
    header = token(server, client).split('.')[0]
    return json.loads(base64.urlsafe_b64decode(header + '==='))['kid']


def await_rotation(server, client, before):
    deadline = time.monotonic() + ROTATION_SECONDS
    while signing_kid(server, client) == before:
        if time.monotonic() > deadline:
            raise LoadFailed(f'SIGUSR1 did not rotate the key within {ROTATION_SECONDS} s')
        time.sleep(0.05)
