"""Databases with as many clients as wanted: made by the server, then filled directly, for nobody adds a million by hand."""
import base64
import dataclasses
import hashlib
import random
import sqlite3
import time
import uuid
from pathlib import Path

from .process import Server

API_KEY = 'load-report-admin-key'
# The name by which requests call the server.
HOST = 'auth.example.com'
SCOPE = 'event.view event.create event.update event.delete'
AUDIENCE = 'event'


@dataclasses.dataclass(frozen=True)
class Client:
    id: str
    secret: str

    @classmethod
    def number(cls, index):
        """Always the same client for a number, so that none has to be remembered."""
        digest = hashlib.sha512(b'm2mint load client %d' % index).digest()
        text = 'm2s_' + base64url(digest[:32])
        checksum = base64url(hashlib.sha256(text.encode()).digest())[:6]
        return cls(f'stcl_{uuid.UUID(bytes=digest[32:48], version=4)}', text + checksum)


@dataclasses.dataclass(frozen=True)
class Database:
    path: Path
    clients: int

    def some(self, count):
        """Clients from all over the file, each as likely as any other; all of them when there are no more."""
        if self.clients <= count:
            return [Client.number(index) for index in range(self.clients)]
        return [Client.number(index) for index in random.Random(1).sample(range(self.clients), count)]

    def serve(self, binary, core=None, wrapper=(), **settings):
        """The server on this file. Pinned to a core it has one worker, else what it takes by itself."""
        environment = {
            'M2MINT_LISTEN': '127.0.0.1:0', 'M2MINT_DATABASE': str(self.path), 'M2MINT_API_KEY': API_KEY, 'M2MINT_LOG': 'warn',
            'M2MINT_ADMIN__HOSTS': HOST,
            **({} if core is None else {'M2MINT_WORKERS': '1'}), **settings,
        }
        return Server([*wrapper, binary], self.path.with_name('log'), core, environment)


def make(binary, directory, clients):
    directory.mkdir()
    database = Database(directory / 'm2mint.db', clients)
    database.serve(binary).stop()
    fill(database)
    return database


def fill(database):
    now = int(time.time() * 1000)
    file = sqlite3.connect(database.path, isolation_level=None)
    try:
        # Ids come in no order: with the usual 2 MB in memory, a million of them would turn the whole file over and over.
        file.execute('PRAGMA cache_size = -500000')
        file.execute('PRAGMA synchronous = OFF')
        file.execute('BEGIN IMMEDIATE')
        # The triggers tell a running server what changed. None runs, and a million rows for it to read would not be a
        # database as one finds it.
        triggers = file.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name IN ('clients', 'client_secrets')").fetchall()
        for name, _ in triggers:
            file.execute(f'DROP TRIGGER {name}')
        indexes = range(database.clients)
        file.executemany(
            'INSERT INTO clients (id, name, scope, audience, extra, created_at, updated_at, secrets_made) VALUES (?, ?, ?, ?, ?, ?, ?, 1)',
            # Made one after the other: those with neighbouring ids are of different ages.
            ((Client.number(index).id, f'Service {index}', SCOPE, AUDIENCE, '{}', now - index, now - index) for index in indexes))
        file.executemany(
            "INSERT INTO client_secrets (client_id, id, kind, hash, created_at) VALUES (?, 1, 'sha256', ?, ?)",
            ((client.id, hashlib.sha256(client.secret.encode()).digest(), now) for client in map(Client.number, indexes)))
        for _, sql in triggers:
            file.execute(sql)
        file.execute('COMMIT')
        file.execute('PRAGMA wal_checkpoint(TRUNCATE)')
    finally:
        file.close()


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=').decode()
