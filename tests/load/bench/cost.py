"""What a request costs: CPU time and requests a second on one core, beside the floor and the peer."""
import base64
import contextlib
import dataclasses
import json
import math
import statistics

from . import database, traffic
from .build import PEER
from .database import Client
from .loader import Side, closed_loop
from .process import LoadFailed, Server
from .table import Figure, at_least, at_most, section
from .traffic import Traffic

SAMPLE = 100_000  # clients at most whose requests are prepared
TOKEN, CAMEL_TOKEN = '"access_token":"eyJ', '"accessToken":"eyJ'
TARGETS = {'ring': (1.15, 5.5), 'aws-lc-rs': (1.30, 10)}  # of the floor at most; less than the peer at least
FORWARD_AUTH = 1.3  # of the floor at most
ANSWERED_BY_ACTIX = {'content-length', 'date', 'connection'}


class Comparison:
    """Runs in which sides took turns, slice by slice. A run's figure is that of its median slice."""

    def __init__(self):
        self.runs = []

    def run(self, binaries, machine, slices, **sides):
        reports = closed_loop(binaries, machine, *sides.values(), slices=slices)
        self.runs.append(dict(zip(sides, reports)))

    def figure(self, side, quantity='cpu_us'):
        return Figure(statistics.median(run[side][quantity]) for run in self.runs)

    def ratio(self, side, other):
        """Of neighbouring slices, which the machine served alike, whatever it did beside."""
        return Figure(ratio_of_slices(run[side]['cpu_us'], run[other]['cpu_us']) for run in self.runs)

    def busy(self):
        return min(statistics.median(side['busy']) for run in self.runs for side in run.values())

    def has(self, side):
        return side in self.runs[0]


def ratio_of_slices(ones, others):
    # Where the kernel counts CPU time in ticks, a short slice can cost nothing: then only the whole tells.
    if not all(others):
        ones, others = [sum(ones)], [sum(others)]
    return statistics.median(one / other if other else math.nan for one, other in zip(ones, others))


@dataclasses.dataclass
class Row:
    name: str
    server: Server
    traffic: Traffic
    peer: Traffic | None = None
    is_token: bool = True
    target: float | None = None  # in place of that of tokens
    with_echo: bool = False
    comparison: Comparison = dataclasses.field(default_factory=Comparison)


def report(backend, binaries, sizes, machine, directory):
    """Prints the section; answers how many token requests a second one core can do."""
    with contextlib.ExitStack() as stack:
        few = database.make(binaries.m2mint, directory / 'few', sizes.few)
        many = database.make(binaries.m2mint, directory / 'many', sizes.many)
        small = stack.enter_context(few.serve(binaries.m2mint, machine.server_core))
        large = stack.enter_context(many.serve(binaries.m2mint, machine.server_core))
        clients = few.some(SAMPLE)
        floor = stack.enter_context(floor_like(small, clients[0], binaries, machine, directory))
        peer = stack.enter_context(peer_server(machine, directory)) if binaries.peer else None

        def requests(name, make, of, expect=TOKEN):
            return Traffic.write(directory / name, map(make, of), expect)

        form = requests('form', traffic.token_form, clients)
        tokens = [(client, token(small, client)) for client in clients for _ in range(20)]
        many_tokens = [token(small, clients[at % len(clients)]) for at in range(sizes.tokens_seen)]
        rows = [
            Row(f'token, form, {sizes.few:,} clients', small, form, requests('peer-form', traffic.peer_token_form, [PEER_POST]),
                with_echo=True),
            Row(f'token, form, {sizes.many:,} clients', large, requests('form-many', traffic.token_form, many.some(SAMPLE))),
            Row('token, form with HTTP Basic', small, requests('basic', traffic.token_basic, clients),
                requests('peer-basic', traffic.peer_token_basic, [PEER_BASIC])),
            Row('token, JSON, snake_case', small, requests('snake', traffic.token_snake, clients)),
            Row('token, JSON, camelCase', small, requests('camel', traffic.token_camel, clients, CAMEL_TOKEN)),
            # Far more than the 4,096 that the server remembers.
            Row(f'forward-auth, {len(many_tokens):,} tokens', small, requests('forward-auth', traffic.forward_auth, many_tokens, ''),
                is_token=False, target=FORWARD_AUTH),
            Row('forward-auth, 100 tokens', small,
                requests('forward-auth-seen', traffic.forward_auth, many_tokens[:100], ''), is_token=False, target=FORWARD_AUTH),
            Row(f'introspection, {len(tokens):,} tokens', small, requests('introspection', lambda pair: traffic.introspection(*pair), tokens, '"active":true'),
                is_token=False),
            Row('JWKS', small, requests('jwks', traffic.jwks, [traffic.JWKS_PATH], '"keys":['),
                requests('peer-jwks', traffic.jwks, ['/jwks'], '"keys":['), is_token=False),
        ]
        echo = Traffic.write(directory / 'echo', [traffic.token_form(client, '/echo') for client in clients], '')
        for _ in range(sizes.runs):
            for row in rows:
                row.comparison.run(binaries, machine, sizes.slices, **sides(row, floor, peer, echo, sizes))
    print_costs(rows, *TARGETS[backend])
    print_rest(rows[0].comparison)
    return rows[0].comparison.figure('m2mint', 'rate').median


def sides(row, floor, peer, echo, sizes):
    """What takes turns in a row."""
    amount = (sizes.requests, sizes.warm_up)
    # The floor's token answer is spelled in one way only.
    to_floor = dataclasses.replace(row.traffic, expect=TOKEN) if row.is_token else row.traffic
    compared = {'floor': Side(floor, to_floor, *amount), 'm2mint': Side(row.server, row.traffic, *amount)}
    if row.with_echo:
        compared['echo'] = Side(floor, echo, *amount)
    if peer and row.peer:
        compared['peer'] = Side(peer, row.peer, sizes.peer_requests, sizes.peer_warm_up)
    return compared


def print_costs(rows, floor_target, peer_target):
    columns = ['', 'm2mint us', 'requests/s', 'floor us', 'm2mint / floor', '', 'peer us', 'peer / m2mint', '']
    with_peer = any(row.comparison.has('peer') for row in rows)
    lines = []
    for row in rows:
        costs = row.comparison
        floor = costs.ratio('m2mint', 'floor')
        line = [row.name, costs.figure('m2mint').text(), costs.figure('m2mint', 'rate').text(0), costs.figure('floor').text(),
                floor.text(2), at_most(round(floor.median, 2), row.target or floor_target) if row.is_token or row.target else '']
        if costs.has('peer'):
            peer = costs.ratio('peer', 'm2mint')
            line += [costs.figure('peer').text(0), peer.text(), at_least(round(peer.median, 1), peer_target) if row.is_token else '']
        elif with_peer:
            line += ['', '', '']
        lines.append(line)
    section('CPU time a request in us and requests a second on one core, beside the floor (actix-web and one signature)'
            + (' and the peer (oidc-provider)' if with_peer else ''), columns[:len(lines[0])], lines)
    busy = min(row.comparison.busy() for row in rows)
    if busy < 0.9:
        print(f'  Other programs, or the loader, kept a server from its core for up to {1 - busy:.0%} of a run: '
              'requests a second are too low by as much; CPU time is not.')


def print_rest(costs):
    """Where the time of a token request goes, by subtraction."""
    own = costs.figure('m2mint').median
    floor, echo = (costs.ratio(side, 'm2mint').median for side in ('floor', 'echo'))
    parts = [("HTTP: read, route, answer, the kernel's share", echo), ('one Ed25519 signature', floor - echo),
             ("m2mint's own: parse, authenticate, allow, encode", 1 - floor)]
    section('Where the CPU time of a token request goes', ['', 'us', 'part'],
            [[name, f'{part * own:.1f}', f'{part:.0%}'] for name, part in parts])


# The peer allows a client one way to authenticate.
PEER_POST, PEER_BASIC = Client.number(0), Client.number(1)


def peer_server(machine, directory):
    configuration = directory / 'peer.json'
    configuration.write_text(json.dumps({
        'clients': [{'id': client.id, 'secret': client.secret, 'method': method}
                    for client, method in [(PEER_POST, 'client_secret_post'), (PEER_BASIC, 'client_secret_basic')]],
        'audience': database.AUDIENCE, 'resource': traffic.RESOURCE, 'scope': database.SCOPE, 'lifetime': 3600}))
    return Server(['node', PEER / 'serve.js', configuration], directory / 'peer.log', machine.server_core, {'NODE_ENV': 'production'})


def floor_like(server, client, binaries, machine, directory):
    """The floor, with the answers that this server gives."""
    answers = {
        'token': server.get(traffic.token_form(client), TOKEN),
        'introspection': server.get(traffic.introspection(client, token(server, client)), '"active":true'),
        'jwks': server.get(traffic.jwks(), '"keys":['),
        'forward_auth': server.get(traffic.forward_auth(token(server, client)), ''),
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
