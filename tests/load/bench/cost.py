"""What a request costs: CPU time and requests a second on one core, beside the floor and the peer."""
import base64
import contextlib
import dataclasses
import json

from . import database, traffic
from .build import PEER
from .database import Client
from .loader import closed_loop
from .process import LoadFailed, Server
from .table import Figure, at_least, at_most, section
from .traffic import Traffic

SAMPLE = 100_000  # clients at most whose requests are prepared
TOKEN, CAMEL_TOKEN = '"access_token":"eyJ', '"accessToken":"eyJ'
TARGETS = {'ring': (1.15, 5.5), 'aws-lc-rs': (1.30, 10)}  # of the floor at most; less than the peer at least
ANSWERED_BY_ACTIX = {'content-length', 'date', 'connection'}


@dataclasses.dataclass
class Row:
    name: str
    server: Server
    traffic: Traffic
    peer: Traffic | None = None
    is_token: bool = True
    samples: dict = dataclasses.field(default_factory=dict)

    def figure(self, side, quantity='cpu_us'):
        return Figure(sample[quantity] for sample in self.samples[side])

    def paired(self, side, other):
        pairs = zip(self.samples[side], self.samples[other])
        return Figure(one['cpu_us'] / another['cpu_us'] for one, another in pairs)


def report(backend, binaries, sizes, machine, directory):
    """Prints the section; answers how many token requests a second one core can do."""
    with contextlib.ExitStack() as stack:
        few = database.make(binaries.m2mint, directory / 'few', sizes.few)
        many = database.make(binaries.m2mint, directory / 'many', sizes.many)
        small = stack.enter_context(few.serve(binaries.m2mint, machine.server_core))
        large = stack.enter_context(many.serve(binaries.m2mint, machine.server_core))
        clients = few.some(SAMPLE)
        floor = stack.enter_context(floor_like(small, clients[0], binaries, machine, directory))
        peer = stack.enter_context(peer_server(clients, machine, directory)) if binaries.peer else None

        def requests(name, make, of, expect=TOKEN):
            return Traffic.write(directory / name, map(make, of), expect)

        form = requests('form', traffic.token_form, clients)
        tokens = [(client, token(small, client)) for client in clients for _ in range(20)]
        rows = [
            Row(f'token, form, {sizes.few:,} clients', small, form, requests('peer-form', traffic.peer_token_form, [PEER_POST])),
            Row(f'token, form, {sizes.many:,} clients', large, requests('form-many', traffic.token_form, many.some(SAMPLE))),
            Row('token, form with HTTP Basic', small, requests('basic', traffic.token_basic, clients),
                requests('peer-basic', traffic.peer_token_basic, [PEER_BASIC])),
            Row('token, JSON, snake_case', small, requests('snake', traffic.token_snake, clients)),
            Row('token, JSON, camelCase', small, requests('camel', traffic.token_camel, clients, CAMEL_TOKEN)),
            Row('introspection', small, requests('introspection', lambda pair: traffic.introspection(*pair), tokens, '"active":true'),
                is_token=False),
            Row('JWKS', small, requests('jwks', lambda path: traffic.jwks(path), [traffic.JWKS_PATH], '"keys":['),
                requests('peer-jwks', lambda path: traffic.jwks(path), ['/jwks'], '"keys":['), is_token=False),
        ]
        echo = Traffic.write(directory / 'echo', [traffic.token_form(client, '/echo') for client in clients], '')
        echoes = []
        for _ in range(sizes.runs):
            for row in rows:
                measure(row, floor, peer, binaries, sizes, machine)
            echoes.append(closed_loop(binaries, machine, floor, echo, sizes.requests, sizes.warm_up))
    print_costs(rows, *TARGETS[backend])
    print_rest(rows[0], Figure(sample['cpu_us'] for sample in echoes))
    return rows[0].figure('m2mint', 'rate').median


def measure(row, floor, peer, binaries, sizes, machine):
    """One run of a row: its sides right after one another, so that what the machine does beside hits all of them."""
    # The floor's token answer is spelled in one way only.
    floor_expects = TOKEN if row.is_token else row.traffic.expect
    sides = [('floor', floor, dataclasses.replace(row.traffic, expect=floor_expects), sizes.requests, sizes.warm_up),
             ('m2mint', row.server, row.traffic, sizes.requests, sizes.warm_up)]
    if peer and row.peer:
        sides.append(('peer', peer, row.peer, sizes.peer_requests, sizes.peer_warm_up))
    for side, server, requests, count, warm_up in sides:
        sample = closed_loop(binaries, machine, server, requests, count, warm_up)
        row.samples.setdefault(side, []).append(sample)


def print_costs(rows, floor_target, peer_target):
    lines = []
    for row in rows:
        own, floor = row.figure('m2mint'), row.figure('floor')
        ratio = own.median / floor.median
        line = [row.name, own.text(), row.figure('m2mint', 'rate').text(0), floor.text(), f'{ratio:.2f}',
                row.paired('m2mint', 'floor').text(2), at_most(round(ratio, 2), floor_target) if row.is_token else '']
        if 'peer' in row.samples:
            times = row.figure('peer').median / own.median
            line += [row.figure('peer').text(0), f'{times:.1f}', at_least(round(times, 1), peer_target) if row.is_token else '']
        lines.append([*line, '', '', ''][:10])
    section('CPU time a request in us, requests a second on one core, and CPU time beside the floor (actix-web + one signature) '
            'and the peer (oidc-provider)',
            ['', 'm2mint us', 'requests/s', 'floor us', 'm2mint/floor', 'of each pair', '', 'peer us', 'peer/m2mint', ''], lines)
    busy = min(sample['busy'] for row in rows for side in row.samples.values() for sample in side)
    if busy < 0.9:
        print(f'  Other programs, or the loader, kept a server from its core for up to {1 - busy:.0%} of a run: '
              'requests a second are too low by as much; CPU time is not.')


def print_rest(row, echo):
    """Where the time of a token request goes, by subtraction."""
    own, floor = row.figure('m2mint').median, row.figure('floor').median
    parts = [('HTTP: read, route, answer, the kernel\'s share', echo.median), ('one Ed25519 signature', floor - echo.median),
             ('m2mint\'s own: parse, authenticate, allow, encode', own - floor)]
    section('Where the CPU time of a token request goes', ['', 'us', 'part'],
            [[name, f'{part:.1f}', f'{part / own:.0%}'] for name, part in parts])


# The peer allows a client one way to authenticate.
PEER_POST, PEER_BASIC = Client.number(0), Client.number(1)


def peer_server(clients, machine, directory):
    configuration = directory / 'peer.json'
    configuration.write_text(json.dumps({
        'clients': [{'id': client.id, 'secret': client.secret, 'method': method}
                    for client, method in [(PEER_POST, 'client_secret_post'), (PEER_BASIC, 'client_secret_basic')]],
        'audience': database.AUDIENCE, 'resource': traffic.RESOURCE, 'scope': database.SCOPE, 'lifetime': 3600}))
    node = Server(['node', PEER / 'serve.js', configuration], directory / 'peer.log', machine.server_core, {'NODE_ENV': 'production'})
    return node


def floor_like(server, client, binaries, machine, directory):
    """The floor, with the answers that this server gives."""
    answers = {
        'token': server.get(traffic.token_form(client), TOKEN),
        'introspection': server.get(traffic.introspection(client, token(server, client)), '"active":true'),
        'jwks': server.get(traffic.jwks(), '"keys":['),
    }
    answers = {name: {'headers': [pair for pair in headers if pair[0].lower() not in ANSWERED_BY_ACTIX], 'body': body}
               for name, (headers, body) in answers.items()}
    minted = json.loads(answers['token']['body'])['access_token']
    check(minted, client, answers['jwks']['body'])
    answers['signed_bytes'] = minted.rindex('.')
    file = directory / 'answers.json'
    file.write_text(json.dumps(answers))
    return Server([binaries.floor, file], directory / 'floor.log', machine.server_core)


def token(server, client):
    return json.loads(server.get(traffic.token_form(client), TOKEN)[1])['access_token']


def check(minted, client, jwks):
    """That it is the token that was asked for, under a published key. (Whether it verifies is for other tests.)"""
    header, claims, signature = (base64.urlsafe_b64decode(part + '===') for part in minted.split('.'))
    header, claims = json.loads(header), json.loads(claims)
    kids = [key['kid'] for key in json.loads(jwks)['keys']]
    asked = {'sub': client.id, 'aud': database.AUDIENCE, 'scope': traffic.SCOPE}
    if header['alg'] != 'EdDSA' or header['kid'] not in kids or len(signature) != 64 or claims != claims | asked:
        raise LoadFailed(f'not the token that was asked for: {header} {claims}')
