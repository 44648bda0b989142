"""Start, memory and size, as a user has them: not pinned, with the number of workers that m2mint chooses."""
import time

from . import database, traffic
from .cost import TOKEN
from .database import Database
from .loader import Side, closed_loop
from .table import Figure, at_most, section
from .traffic import Traffic

START_MS, IDLE_MIB, LOADED_MIB, BINARY_MIB = 150, 20, 24, 12


def report(binaries, sizes, machine, directory):
    existing = database.make(binaries.m2mint, directory / 'start', sizes.few)
    client = existing.some(1)[0]
    from_nothing, from_file, idle, loaded = [], [], [], []
    for run in range(sizes.starts):
        (directory / f'empty-{run}').mkdir()
        empty = Database(directory / f'empty-{run}' / 'm2mint.db', 0)
        with empty.serve(binaries.m2mint) as server:
            from_nothing.append(answer_ms(server, traffic.jwks(), '"keys":['))
        with existing.serve(binaries.m2mint) as server:
            from_file.append(answer_ms(server, traffic.token_form(client), TOKEN))
            idle.append(server.memory_mib())
    requests = Traffic.write(directory / 'memory', map(traffic.token_form, existing.some(sizes.few)), TOKEN)
    with existing.serve(binaries.m2mint) as server:
        closed_loop(binaries, machine, Side(server, requests, sizes.tokens, 0))
        loaded.append(server.memory_mib())
    size = binaries.m2mint.stat().st_size / 2**20
    rows = [('start to first good answer, no file, ms', Figure(from_nothing), START_MS),
            (f'start to first good answer, {sizes.few:,} clients, ms', Figure(from_file), START_MS),
            ('resident memory idle, MiB', Figure(idle), IDLE_MIB),
            (f'resident memory after {sizes.tokens:,} tokens, MiB', Figure(loaded), LOADED_MIB),
            ('stripped binary, MiB', Figure([size]), BINARY_MIB)]
    section('Start, memory, size', [], [[name, figure.text(), at_most(round(figure.median, 1), target)] for name, figure, target in rows])


def answer_ms(server, request, expect):
    """From the start of the process to its first good answer."""
    server.get(request, expect)
    return (time.monotonic() - server.began) * 1000
