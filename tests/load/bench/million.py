"""A database with a million clients: how long the server takes to start, what it keeps in memory, what a token costs, how long a
backup and a restore take."""
import os
import subprocess
import time

from . import database, traffic
from .cost import SAMPLE, TARGETS, TOKEN, Comparison, floor_like
from .loader import Side
from .startup import answer_ms
from .table import Figure, at_most, section
from .traffic import Traffic

START_SECONDS, MEMORY_MIB = 2, 300
STARTS = 3


def report(backend, binaries, sizes, machine, directory):
    clients = database.make(binaries.m2mint, directory / 'million', sizes.million)
    sample = clients.some(SAMPLE)
    requests = Traffic.write(directory / 'form-million', map(traffic.token_form, sample), TOKEN)
    starts, idle = [], []
    for _ in range(STARTS):
        with clients.serve(binaries.m2mint) as server:
            starts.append(answer_ms(server, traffic.token_form(sample[0]), TOKEN) / 1000)
            idle.append(server.memory_mib())
    costs = Comparison()
    with (clients.serve(binaries.m2mint, machine.server_core) as server,
          floor_like(server, sample[0], binaries, machine, directory) as floor):
        for _ in range(sizes.runs):
            sides = {name: Side(side, requests, sizes.requests, sizes.warm_up) for name, side in [('floor', floor), ('m2mint', server)]}
            costs.run(binaries, machine, sizes.slices, **sides)
        loaded = Figure([server.memory_mib()])
    kept = backup_and_restore(clients, binaries.m2mint)
    ratio = costs.ratio('m2mint', 'floor')
    section(f'{sizes.million:,} clients', [], [
        ['start to first good answer, s', Figure(starts).text(2), at_most(round(Figure(starts).median, 2), START_SECONDS)],
        ['resident memory idle, MiB', Figure(idle).text(), at_most(round(Figure(idle).median, 1), MEMORY_MIB)],
        [f'resident memory after {sizes.runs * (sizes.requests + sizes.warm_up):,} tokens for {len(sample):,} clients, MiB',
         loaded.text(), at_most(round(loaded.median, 1), MEMORY_MIB)],
        *([name, figure.text(), ''] for name, figure in kept),
        ['token, form, CPU us', costs.figure('m2mint').text(), ''],
        ['floor, CPU us', costs.figure('floor').text(), ''],
        ['m2mint/floor', ratio.text(2), at_most(round(ratio.median, 2), TARGETS[backend][0])],
    ])


def backup_and_restore(clients, binary):
    """While a server works on the file, and on the file alone. Each is read again from end to end."""
    copy = clients.path.with_name('backup.db')
    with clients.serve(binary):
        backup = seconds(clients, binary, 'backup', copy)
    restore = seconds(clients, binary, 'restore', copy, '--yes')
    size = [file.stat().st_size / 2**20 for file in (clients.path, copy)]
    return [('database file, MiB', Figure(size[:1])), ('backup, MiB', Figure(size[1:])),
            ('backup while serving, s', Figure([backup])), ('restore, s', Figure([restore]))]


def seconds(clients, binary, *arguments):
    began = time.monotonic()
    environment = {'PATH': os.environ['PATH'], 'M2MINT_DATABASE': str(clients.path)}
    subprocess.run([binary, *map(str, arguments)], env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began
