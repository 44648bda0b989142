"""haproxy-keys by itself: key files that follow a rotation, and key sets that are refused."""
import json
import shlex
import subprocess

from forger import Key, jwk
from support import Answers, Issuer, RECIPES, check, eventually, free_ports, kid, wait_for


class Brought:
    """The folder that HAProxy would read, and how often it was told to."""

    def __init__(self, directory):
        self.directory, self.count = directory / 'm2mint', directory / 'reloads'
        self.count.touch()

    def run(self, url, reload=None):
        reload = reload or f'sh -c {shlex.quote(f"echo reload >> {self.count}")}'
        done = subprocess.run([RECIPES / 'haproxy-keys', url, '--directory', self.directory, '--reload', reload],
                              capture_output=True, text=True)
        self.said = done.stdout + done.stderr
        return done.returncode

    def reloads(self):
        return len(self.count.read_text().splitlines())

    def state(self):
        return {path.name: path.read_text() for path in sorted(self.directory.iterdir())}

    def slots(self):
        return dict(line.split() for line in (self.directory / 'kids.map').read_text().splitlines())

    def consistent(self):
        """One file for each key, and no other."""
        files = {path.stem for path in self.directory.glob('*.pem')}
        texts = [path.read_text() for path in self.directory.glob('*.pem')]
        return set(self.slots().values()) == files and len(set(texts)) == len(texts)


def cases(directory):
    following(directory)
    refusing(directory / 'refusing')


def following(directory):
    """Tokens live for two seconds, so that a retired key leaves the key set soon."""
    (port,) = free_ports(1)
    issuer = Issuer(directory, port, '[audiences.event]\nalg = "ES256"\n', M2MINT_ROTATION__CLOCK_SKEW='1s',
                    M2MINT_TOKEN__LIFETIME='2s', M2MINT_TOKEN__MAX_LIFETIME='2s')
    url = f'{issuer.name}/jwt/jwks.json?alg=ES256'
    brought = Brought(directory)
    with issuer.start() as server:
        wait_for(port)
        secret = issuer.client('task')
        token = issuer.token('task', secret, 'event', 'event.view')
        check('haproxy-keys: a first run', brought.run(url) == 0 and brought.reloads() == 1, brought.said)
        first = brought.slots()
        check('haproxy-keys: the active key and the standby are there', kid(token) in first and len(first) == 2, first)
        check('haproxy-keys: one file for each key', brought.consistent(), brought.state())
        check('haproxy-keys: nothing new is no reload', brought.run(url) == 0 and brought.reloads() == 1)
        old, new = issuer.rotate(server, 'event', 'task', secret, 'event.view')
        check('haproxy-keys: the standby that now signs was there', kid(old) != kid(new) and {kid(old), kid(new)} == set(first))
        code = brought.run(url, 'false')
        check('haproxy-keys: a reload that fails is told', code == 1 and 'not reloaded' in brought.said, brought.said)
        check('haproxy-keys: and made up for', brought.run(url) == 0 and brought.reloads() == 2, brought.said)
        second = brought.slots()
        check('haproxy-keys: keys keep their files', len(second) == 3 and first.items() <= second.items() and brought.consistent(),
              second)
        gone = eventually(lambda: brought.run(url) == 0 and kid(old) not in brought.slots())
        check('haproxy-keys: a retired key goes when its last token has expired', gone and brought.reloads() == 3, brought.said)
        check('haproxy-keys: its file goes too', len(brought.slots()) == 2 and brought.consistent(), brought.state())
        damaged = brought.directory / f'{brought.slots()[kid(new)]}.pem'
        damaged.write_text('')
        check('haproxy-keys: a damaged file, and a reload that fails', brought.run(url, 'false') == 1 and damaged.read_text() != '')
        check('haproxy-keys: HAProxy is told of the mended file', brought.run(url) == 0 and brought.reloads() == 4, brought.said)
        damaged.write_text('')
        check('haproxy-keys: a damaged file is mended', brought.run(url) == 0 and brought.consistent() and brought.reloads() == 5
              and damaged.read_text() != '')
    before = brought.state()
    check('haproxy-keys: while m2mint is down, all stays', brought.run(url) == 1 and brought.state() == before, brought.said)


def refusing(directory):
    """Key sets that are not m2mint's."""
    directory.mkdir()
    keys = [Key(directory, f'key-{number}') for number in range(5)]
    jwks = [key.jwk for key in keys]
    served = {'/good': (200, {'keys': jwks[:4]})}

    def answer(path):
        status, body = served[path]
        return status, {'location': '/good'}, body if isinstance(body, bytes) else json.dumps(body).encode()

    server = Answers(answer)
    base = f'http://127.0.0.1:{server.port}'
    brought = Brought(directory)
    check('haproxy-keys: four keys are taken', brought.run(f'{base}/good') == 0 and len(brought.slots()) == 4, brought.said)
    for path in brought.directory.glob('*.pem'):
        known = next(key for key in keys if brought.slots().get(key.kid) == path.stem)
        check(f'haproxy-keys: {path.name} is the key as OpenSSL writes it', path.read_text() == known.pem.decode())
    before = brought.state()
    for name, status, body in [
        ('five keys', 200, {'keys': jwks}),
        ('no key', 200, {'keys': []}),
        ('Ed25519 alone', 200, {'keys': [{'kty': 'OKP', 'crv': 'Ed25519', 'x': jwks[0]['x'], 'kid': jwks[0]['kid']}]}),
        ('a key under the name of another', 200, {'keys': [{**jwks[0], 'kid': jwks[1]['kid']}]}),
        ('a kid that is a path', 200, {'keys': [{**jwks[0], 'kid': '../../x'}]}),
        ('a key without a kid', 200, {'keys': [{**jwks[0], 'kid': None}]}),
        ('a point off the curve', 200, {'keys': [jwk(jwks[0]['x'], jwks[1]['y'])]}),
        ('a coordinate that is short', 200, {'keys': [{**jwks[0], 'x': 'AAAA'}]}),
        ('a page', 200, b'<html>'),
        ('a list', 200, b'[]'),
        ('keys that are none', 200, {'keys': [1]}),
        ('more than 64 KiB', 200, json.dumps({'keys': jwks[:1]}).encode() + b' ' * 65536),
        ('an error', 500, {'keys': jwks[:1]}),
        ('a redirect', 302, {'keys': jwks[:1]}),
    ]:
        served['/bad'] = status, body
        code = brought.run(f'{base}/bad')
        check(f'haproxy-keys: {name} changes nothing', code == 1 and brought.state() == before and brought.reloads() == 1
              and 'Traceback' not in brought.said, f'{code} {brought.said}')
    check('haproxy-keys: no keys over http from elsewhere', brought.run('http://auth.example.com/auth/jwt/jwks.json') == 2)
    server.close()
