"""More requests than can be answered, and more connections than there are seats."""
import contextlib
import resource
import socket
import statistics
import time

from . import database, traffic
from .cost import TOKEN
from .loader import Side, closed_loop, overload
from .table import Figure, at_least, at_most, section
from .traffic import Traffic

TIMES = 3  # what is offered, of what can be answered
CLIENTS = 900  # connections: fewer than there are seats by default
GOODPUT, BESIDE_MS, MEMORY_MIB = 0.9, 50, 64
BESIDE = 50  # a second
SETTLED_SECONDS = 3


def report(binaries, sizes, machine, directory):
    clients = database.make(binaries.m2mint, directory / 'crowd', sizes.few)
    too_many_requests(binaries, sizes, machine, directory, clients)
    too_many_connections(binaries, sizes, clients)


def too_many_requests(binaries, sizes, machine, directory, clients):
    requests = Traffic.write(directory / 'overload', map(traffic.token_form, clients.some(sizes.few)), TOKEN)
    always = Traffic.write(directory / 'always', [traffic.jwks(), traffic.request('GET', '/hello')], '')
    with clients.serve(binaries.m2mint, machine.server_core) as server:
        before = peaks(binaries, sizes, machine, server, requests)
        for patient, who in [(True, 'wait as they are told'), (False, 'ask again at once')]:
            found = overload(binaries, machine, server, requests, TIMES * statistics.median(before), sizes.overload_seconds, CLIENTS, patient,
                             {'rate': BESIDE, 'traffic': always.plan()})
            # What was still asked is answered or refused by then.
            time.sleep(SETTLED_SECONDS)
            # Before and after: the machine is faster at one time than at another.
            after = peaks(binaries, sizes, machine, server, requests)
            tell(found, statistics.median(before + after), server.memory_mib(), f'for {sizes.overload_seconds:g} s, from {CLIENTS} clients that {who}')
            before = after


def peaks(binaries, sizes, machine, server, requests):
    """What can be answered a second, several times."""
    return closed_loop(binaries, machine, Side(server, requests, sizes.requests, sizes.warm_up), slices=5)[0]['rate']


def tell(found, peak, memory, how):
    rows = [('answered at most, without overload, a second', f'{peak:,.0f}', ''),
            ('offered, a second', f'{found["offered"]:,.0f}', ''),
            ('answered, a second', f'{found["good"]:,.0f}', ''),
            ('answered, of what could be', f'{found["good"] / peak:.2f}', at_least(round(found['good'] / peak, 2), GOODPUT)),
            ('refused with Retry-After, a second', f'{found["refused"]:,.0f}', ''),
            ('not asked, because all clients were waiting, a second', f'{found["not_sent"]:,.0f}', ''),
            ('time to a refusal, ms: median, p99', f'{found["refusal_p50_us"] / 1000:.1f}, {found["refusal_p99_us"] / 1000:.1f}', ''),
            (f'key set and /hello, {found["beside"]:,} times, ms: p99', f'{found["beside_p99_us"] / 1000:.1f}',
             at_most(round(found['beside_p99_us'] / 1000, 1), BESIDE_MS)),
            ('the same, the longest', f'{found["beside_max_us"] / 1000:.1f}', ''),
            ('resident memory after it, MiB', f'{memory:.1f}', at_most(round(memory, 1), MEMORY_MIB))]
    section(f'{TIMES} times as many requests for tokens as can be answered, {how}', [], rows)


def too_many_connections(binaries, sizes, clients):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    count = min(sizes.idle, most - 200)
    client = clients.some(1)[0]
    # As many bytes as it may take in all: a server that wanted more would end.
    limit = f'--data={MEMORY_MIB * 2**20}'
    with clients.serve(binaries.m2mint, wrapper=['prlimit', limit]) as server, contextlib.ExitStack() as held:
        began = time.monotonic()
        for _ in range(count):
            held.enter_context(socket.create_connection(('127.0.0.1', server.port)))
        connected = time.monotonic() - began
        times = []
        for _ in range(20):
            began = time.monotonic()
            server.get(traffic.token_form(client), TOKEN)
            times.append((time.monotonic() - began) * 1000)
        rows = [('to connect them all, s', f'{connected:.1f}', ''),
                ('a token on a new connection meanwhile, ms', Figure(times).text(), ''),
                ('resident memory, MiB', f'{server.memory_mib():.1f}', at_most(round(server.memory_mib(), 1), MEMORY_MIB))]
    section(f'{count:,} connections that lie idle, at a server that may take {MEMORY_MIB} MiB', [], rows)
