"""Requests, byte for byte: the same for every side of a comparison."""
import base64
import dataclasses
import json
from pathlib import Path
from urllib.parse import quote, urlencode

from .database import API_KEY, AUDIENCE, HOST

FORM = 'application/x-www-form-urlencoded'
JSON = 'application/json'
SCOPE = 'event.view event.create'
RESOURCE = 'https://event.example.com'
TOKEN_PATH, INTROSPECTION_PATH, JWKS_PATH = '/auth/oauth/token', '/auth/oauth/introspect', '/auth/jwt/jwks.json'


@dataclasses.dataclass(frozen=True)
class Traffic:
    file: Path
    expect: str

    @classmethod
    def write(cls, file, requests, expect):
        file.write_bytes(b''.join(request + b'\0' for request in requests))
        return cls(file, expect)

    def plan(self):
        return {'file': str(self.file), 'expect': self.expect}


def request(method, path, body='', content_type=None, **headers):
    lines = {'Host': HOST, 'User-Agent': 'load', 'Accept': '*/*', **headers}
    if content_type:
        lines |= {'Content-Type': content_type, 'Content-Length': str(len(body.encode()))}
    head = ''.join(f'{name}: {value}\r\n' for name, value in lines.items())
    return f'{method} {path} HTTP/1.1\r\n{head}\r\n{body}'.encode()


def basic(client):
    pair = f'{quote(client.id)}:{quote(client.secret)}'
    return {'Authorization': 'Basic ' + base64.b64encode(pair.encode()).decode()}


def forward_auth(token):
    demand = urlencode({'audience': AUDIENCE, 'scope': SCOPE})
    return request('GET', f'/auth/verify?{demand}', Authorization=f'Bearer {token}')


def compact(value):
    return json.dumps(value, separators=(',', ':'))


def token_form(client, path=TOKEN_PATH):
    return request('POST', path, urlencode({
        'grant_type': 'client_credentials', 'client_id': client.id, 'client_secret': client.secret,
        'scope': SCOPE, 'audience': AUDIENCE}), FORM)


def token_basic(client, path=TOKEN_PATH):
    body = urlencode({'grant_type': 'client_credentials', 'scope': SCOPE, 'audience': AUDIENCE})
    return request('POST', path, body, FORM, **basic(client))


def token_snake(client, path=TOKEN_PATH):
    return request('POST', path, compact({
        'grant_type': 'client_credentials', 'client_id': client.id, 'client_secret': client.secret,
        'scope': SCOPE.split(), 'audience': AUDIENCE}), JSON)


def token_camel(client, path=TOKEN_PATH):
    return request('POST', path, compact({
        'clientId': client.id, 'clientSecret': client.secret, 'grantType': 'client_credentials',
        'scope': SCOPE.split(), 'audience': AUDIENCE}), JSON)


def peer_token_form(client):
    return request('POST', '/token', urlencode({
        'grant_type': 'client_credentials', 'client_id': client.id, 'client_secret': client.secret,
        'scope': SCOPE, 'resource': RESOURCE}), FORM)


def peer_token_basic(client):
    body = urlencode({'grant_type': 'client_credentials', 'scope': SCOPE, 'resource': RESOURCE})
    return request('POST', '/token', body, FORM, **basic(client))


def introspection(client, token):
    return request('POST', INTROSPECTION_PATH, urlencode({'token': token}), FORM, **basic(client))


def jwks(path=JWKS_PATH):
    return request('GET', path)


def new_client(index):
    return request('POST', '/recipe/oauth/clients', compact({
        'clientName': f'Load {index}', 'grantTypes': ['client_credentials'], 'scope': 'event.view event.create',
        'audience': [AUDIENCE]}), JSON, **{'api-key': API_KEY})
