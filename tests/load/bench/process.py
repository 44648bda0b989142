"""Processes that are measured: started, pinned to a core, asked for their figures, ended by their id."""
import contextlib
import http.client
import os
import re
import select
import signal
import subprocess
import time

START_SECONDS = 120
STOP_SECONDS = 10


class LoadFailed(Exception):
    """A request failed, an answer was wrong, or something did not start: nothing that a slow machine explains."""


class Machine:
    """Which core serves, which one loads, and how much of them other programs had."""

    def __init__(self):
        cores = sorted(os.sched_getaffinity(0))
        self.server_core, self.loader_core = cores[0], cores[-1]
        self.count = len(cores)
        self.began = self._steal_and_total()

    def stolen(self):
        """Part of the time that the hypervisor gave to other machines."""
        stolen, total = (now - then for now, then in zip(self._steal_and_total(), self.began))
        return stolen / max(total, 1)

    @staticmethod
    def _steal_and_total():
        with open('/proc/stat') as stat:
            ticks = [int(field) for field in stat.readline().split()[1:9]]
        return ticks[7], sum(ticks)


class Server:
    """A server process that says on its first line where it listens."""

    def __init__(self, command, log, core=None, environment=None):
        pinned = ['taskset', '-c', str(core)] if core is not None else []
        self.log = log
        self.began = time.monotonic()
        with open(log, 'ab') as errors:
            self.process = subprocess.Popen(
                [*pinned, *map(str, command)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                env={**base_environment(), **(environment or {})}, start_new_session=True)
        self.pid = self.process.pid
        try:
            self.port = self._listening_port()
        except BaseException:
            self.stop()
            raise

    def _listening_port(self):
        if not select.select([self.process.stdout], [], [], START_SECONDS)[0]:
            raise LoadFailed(f'not ready within {START_SECONDS} s{self._last_words()}')
        line = self.process.stdout.readline().decode()
        found = re.search(r'listens on http://127\.0\.0\.1:(\d+)', line)
        if not found:
            raise LoadFailed(f'said {line!r} instead of where it listens{self._last_words()}')
        return int(found[1])

    def _last_words(self):
        words = self.log.read_text(errors='replace')[-2000:]
        return f'; its log ends:\n{words}' if words else ''

    @property
    def address(self):
        return f'127.0.0.1:{self.port}'

    def get(self, raw, expect=None):
        """Sends one prepared request; answers status, headers and body."""
        head, _, body = raw.partition(b'\r\n\r\n')
        first, *lines = head.decode().split('\r\n')
        method, path, _ = first.split(' ')
        headers = dict(line.split(': ', 1) for line in lines)
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body or None, headers)
            response = connection.getresponse()
            text = response.read().decode()
        if response.status != 200 or (expect and expect not in text):
            raise LoadFailed(f'{method} {path} answered {response.status} {text[:500]}')
        return response.getheaders(), text

    def signal(self, number):
        os.kill(self.pid, number)

    def memory_mib(self):
        with open(f'/proc/{self.pid}/status') as status:
            return int(re.search(r'VmRSS:\s+(\d+) kB', status.read())[1]) / 1024

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def base_environment():
    """The caller's environment without settings that would reach into what is measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith(('M2MINT_', 'NODE_'))}
