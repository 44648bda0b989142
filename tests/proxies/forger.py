"""A key of the tests' own beside m2mint's in the key set that offline verifiers fetch: with it, tokens are signed well that are
wrong in one way each. The key set comes over TLS, under a certificate authority that the test makes."""
import base64
import hashlib
import http.client
import json
import ssl
import subprocess
import time

from support import Answers


def encode(value):
    if isinstance(value, (dict, list)):
        value = json.dumps(value, separators=(',', ':'))
    if isinstance(value, str):
        value = value.encode()
    return base64.urlsafe_b64encode(value).rstrip(b'=').decode()


def openssl(*words, **options):
    return subprocess.run(['openssl', *map(str, words)], capture_output=True, check=True, **options).stdout


def jwk(x, y):
    """Under its thumbprint (RFC 7638)."""
    members = {'crv': 'P-256', 'kty': 'EC', 'x': x, 'y': y}
    thumbprint = hashlib.sha256(json.dumps(members, separators=(',', ':'), sort_keys=True).encode()).digest()
    return {**members, 'alg': 'ES256', 'kid': encode(thumbprint), 'use': 'sig'}


class Key:
    """A pair for ES256."""

    def __init__(self, directory, name):
        self.file = directory / f'{name}.pem'
        openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', self.file)
        point = openssl('pkey', '-in', self.file, '-pubout', '-outform', 'DER')[-64:]
        self.pem = openssl('pkey', '-in', self.file, '-pubout')
        self.jwk = jwk(encode(point[:32]), encode(point[32:]))
        self.kid = self.jwk['kid']

    def sign(self, header, payload):
        signed = f'{encode(header)}.{encode(payload)}'
        der = openssl('dgst', '-sha256', '-sign', self.file, input=signed.encode())
        # Two integers in a sequence (RFC 3279 §2.2.3), as two numbers of 32 bytes (RFC 7518 §3.4).
        length = der[3]
        r, s = der[4:4 + length], der[6 + length:]
        return f'{signed}.' + encode(b''.join(int.from_bytes(number, 'big').to_bytes(32, 'big') for number in (r, s)))


class Forger:
    """Signs with a published key, and with one that is not."""

    def __init__(self, directory, issuer, audience, scope):
        self.key, self.other = Key(directory, 'forger'), Key(directory, 'other')
        self.issuer, self.audience, self.scope = issuer, audience, scope

    def header(self, **changes):
        return changed({'alg': 'ES256', 'typ': 'at+jwt', 'kid': self.key.kid}, changes)

    def payload(self, **changes):
        now = int(time.time())
        return changed({
            'iss': self.issuer, 'sub': 'forger', 'aud': self.audience, 'client_id': 'forger', 'iat': now, 'exp': now + 3600,
            'jti': 'AZxLMh7kx3u6Xb0nVYk1Zg', 'scope': self.scope, 'scp': self.scope.split(' '), 'stt': 1}, changes)

    def good(self, **changes):
        return self.key.sign(self.header(), self.payload(**changes))

    def tokens(self):
        """What is wrong, and a token that is otherwise perfect."""
        now, good = int(time.time()), self.good()
        signed, signature = good.rsplit('.', 1)
        head, claims = signed.split('.')
        with_header = lambda **changes: self.key.sign(self.header(**changes), self.payload())
        stolen = lambda **changes: self.other.sign(self.header(**changes), self.payload())
        twice = lambda value, member: '{' + member + ',' + json.dumps(value, separators=(',', ':'))[1:]
        unsigned = lambda alg: f'{encode(self.header(alg=alg))}.{claims}.'
        hmac = subprocess.run(['openssl', 'dgst', '-sha256', '-mac', 'HMAC', '-macopt', f'hexkey:{self.key.pem.hex()}', '-binary'],
                              input=f'{encode(self.header(alg="HS256"))}.{claims}'.encode(), capture_output=True, check=True).stdout
        return {
            'alg none': unsigned('none'),
            'alg none beside a signature': unsigned('none') + signature,
            'alg NONE': unsigned('NONE'),
            'HMAC with the public key': f'{encode(self.header(alg="HS256"))}.{claims}.{encode(hmac)}',
            'another alg': with_header(alg='ES384'),
            'no alg': with_header(alg=None),
            'typ JWT': with_header(typ='JWT'),
            'no typ': with_header(typ=None),
            'crit': with_header(crit=['x'], x=True),
            'no kid': with_header(kid=None),
            'an own key': stolen(jwk=self.other.jwk, kid=self.other.kid),
            'an own key under a known kid': stolen(jwk=self.other.jwk),
            'another key under a known kid': stolen(),
            'a kid that is a path': stolen(kid='../../../dev/null'),
            'a kid that nobody published': stolen(kid=self.other.kid),
            'a changed signature': f'{signed}.{"B" if signature[0] == "A" else "A"}{signature[1:]}',
            'no signature': f'{signed}.',
            'half a signature': f'{signed}.{signature[:43]}',
            'two parts': signed,
            'five parts': f'{good}.x.x',
            'padding': f'{good}==',
            'another last character': good[:-1] + chr(ord(good[-1]) + 1),
            'changed claims': f'{head}.{encode(self.payload(client_id="admin"))}.{signature}',
            'another audience': self.good(aud='file'),
            'an audience that begins with the right one': self.good(aud=self.audience + 'x'),
            'no audience': self.good(aud=None),
            'no audience in a list': self.good(aud=[]),
            'several audiences': self.good(aud=[self.audience, 'file']),
            'two aud, the right one last': self.key.sign(self.header(), twice(self.payload(), '"aud":"file"')),
            'two aud, the right one first': self.key.sign(self.header(), twice(self.payload(aud='file'), f'"aud":"{self.audience}"')),
            'another issuer': self.good(iss='https://another.example.com'),
            'an issuer that begins with the right one': self.good(iss=self.issuer + 'x'),
            'no issuer': self.good(iss=None),
            'an exp of an hour ago': self.good(iat=now - 7200, exp=now - 3600),
            'no exp': self.good(exp=None),
            'an exp that is a text': self.good(exp=str(now + 3600)),
            'an iat of tomorrow': self.good(iat=now + 86400, exp=now + 90000),
            'a session token': self.good(stt=0, sessionHandle='s'),
            'an ID token': self.good(stt=2),
            'no scope': self.good(scope='', scp=[]),
            'no word of scopes': self.good(scope=None, scp=None),
            'a scope that begins with the right one': self.good(scope=self.scope + 'x', scp=[self.scope + 'x']),
            'a scope that the right one begins with': self.good(scope=self.scope[:-1], scp=[self.scope[:-1]]),
            'every scope': self.good(scope='*', scp=['*']),
            'scopes with a comma between': self.good(scope=self.scope + ',x', scp=[self.scope + ',x']),
            'claims that are no JSON': self.key.sign(self.header(), 'client=forger'),
            'claims that are a list': self.key.sign(self.header(), '[]'),
        }


def changed(members, changes):
    """With these members, and without those that are None."""
    return {name: value for name, value in {**members, **changes}.items() if value is not None}


class KeySet:
    """m2mint's key set with keys beside, at https://localhost:PORT/auth/jwt/jwks.json?alg=ES256."""

    def __init__(self, directory, port, extra):
        self.authority = directory / 'ca.pem'
        key, request, certificate, names = (directory / name for name in ('tls.key', 'tls.csr', 'tls.pem', 'names'))
        openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', 2,
                '-subj', '/CN=authority of a test', '-keyout', directory / 'ca.key', '-out', self.authority)
        openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=localhost', '-keyout', key,
                '-out', request)
        names.write_text('subjectAltName=DNS:localhost,IP:127.0.0.1\n')
        openssl('x509', '-req', '-in', request, '-CA', self.authority, '-CAkey', directory / 'ca.key', '-CAcreateserial', '-days', 2,
                '-extfile', names, '-out', certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.asked, self.issuer, self.extra = 0, port, extra
        self.server = Answers(self.answer, context)
        self.url = f'https://localhost:{self.server.port}/auth/jwt/jwks.json?alg=ES256'

    def answer(self, path):
        self.asked += 1
        try:
            connection = http.client.HTTPConnection('127.0.0.1', self.issuer, timeout=5)
            connection.request('GET', path)
            answer = connection.getresponse()
            status, body = answer.status, answer.read()
            connection.close()
            if status == 200:
                body = json.dumps({'keys': json.loads(body)['keys'] + self.extra}).encode()
        except OSError:
            status, body = 502, b''
        return status, {'content-type': 'application/json'}, body

    def close(self):
        self.server.close()
