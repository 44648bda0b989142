"""What the tests of proxies share: processes, the service behind the proxy, m2mint, and the tally of checks."""
import base64
import contextlib
import http.client
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.parse
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPES = REPOSITORY / 'deploy' / 'forward-auth'
M2MINT = os.environ.get('M2MINT_BIN', REPOSITORY / 'target' / 'release' / 'm2mint')
HOST = 'calendar.example.com'
PATH = os.environ['PATH'] + ':/usr/sbin:/sbin'
passed = failed = 0


def check(name, condition, detail=''):
    global passed, failed
    if condition:
        passed += 1
        print(f'ok       {name}')
    else:
        failed += 1
        print(f'FAILED   {name} {detail}')


def tally():
    """Says how many checks passed and failed, and the exit code."""
    print(f'{passed} passed, {failed} failed')
    return int(failed > 0)


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(('127.0.0.1', 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def wait_for(port):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(('127.0.0.1', port), 1):
            return
        time.sleep(0.02)
    raise SystemExit(f'nothing listens on port {port}')


@contextlib.contextmanager
def running(command, **options):
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


def eventually(condition):
    deadline = time.monotonic() + 20
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


class Service(http.server.ThreadingHTTPServer):
    """The service behind the proxy: answers with the headers that reached it."""
    daemon_threads = True

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Echo)
        self.port = self.server_address[1]
        self.seen = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """A proxy may drop a connection that it keeps: nothing to be told of."""


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def answer(self):
        self.server.seen += 1
        self.rfile.read(int(self.headers.get('content-length', 0)))
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer

    def log_message(self, *_):
        pass


class Answers(http.server.ThreadingHTTPServer):
    """Answers a GET with what `answer` gives for its path: a status, headers, and a body. With a `context`, over TLS."""
    daemon_threads = True

    def __init__(self, answer, context=None):
        super().__init__(('127.0.0.1', 0), Answered)
        self.answer, self.port = answer, self.server_address[1]
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()


class Answered(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status, headers, body = self.server.answer(self.path)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def ask(port, method, target, headers=(), body=None):
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=20)
    with contextlib.closing(connection):
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in [('Host', HOST), *headers]:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader('Content-Length', str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, dict((name.lower(), value) for name, value in answer.getheaders()), answer.read()


class Issuer:
    """m2mint, with what its configuration says beside the rules, and with other variables than the usual."""

    def __init__(self, directory, port, configuration='', **environment):
        self.port, self.directory = port, directory
        self.environment = {
            'PATH': PATH, 'M2MINT_LISTEN': f'127.0.0.1:{port}', 'M2MINT_DATABASE': str(directory / 'm2mint.db'),
            'M2MINT_ROTATION__PROPAGATION': '1s', 'M2MINT_CONFIG': str(directory / 'm2mint.toml'), **environment}
        self.name = f'http://127.0.0.1:{port}/auth'
        rules = re.findall(r'^#       (".*"),$', (RECIPES / 'Caddyfile').read_text(), re.M)
        (directory / 'm2mint.toml').write_text(f'[forward_auth]\nrules = [{", ".join(rules)}]\n{configuration}')

    def start(self):
        return running([M2MINT, 'serve'], env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def verb(self, *arguments):
        done = subprocess.run([str(M2MINT), *arguments], env=self.environment, capture_output=True, text=True, check=True)
        return done.stdout

    def client(self, name, *options):
        made = json.loads(self.verb('clients', 'create', '--id', name, '--name', name, '--audience', 'event', '--audience', 'file',
                                    '--scope', 'event.* file.*', *options, '--json'))
        deadline = time.monotonic() + 10
        while True:
            # A running server knows it within a second.
            try:
                self.token(name, made['clientSecret'], 'event', 'event.view')
                return made['clientSecret']
            except KeyError:
                if time.monotonic() > deadline:
                    raise

    def token(self, name, secret, audience, scope):
        form = urllib.parse.urlencode({'grant_type': 'client_credentials', 'client_id': name, 'client_secret': secret,
                                       'audience': audience, 'scope': scope}).encode()
        kind = [('Content-Type', 'application/x-www-form-urlencoded')]
        _, _, answer = ask(self.port, 'POST', '/auth/oauth/token', kind, form)
        return json.loads(answer)['access_token']

    def revoke(self, name, secret, token):
        form = urllib.parse.urlencode({'client_id': name, 'client_secret': secret, 'token': token}).encode()
        kind = [('Content-Type', 'application/x-www-form-urlencoded')]
        status, _, _ = ask(self.port, 'POST', '/auth/oauth/revoke', kind, form)
        assert status == 200

    def keys(self):
        """Those that are published for ES256."""
        return json.loads(ask(self.port, 'GET', '/auth/jwt/jwks.json?alg=ES256')[2])['keys']

    def rotate(self, server, audience, name, secret, scope):
        """A token from before a rotation, and one from after it."""
        old = self.token(name, secret, audience, scope)
        server.send_signal(signal.SIGUSR1)
        fresh = []
        eventually(lambda: fresh.append(self.token(name, secret, audience, scope)) or kid(fresh[-1]) != kid(old))
        return old, fresh[-1]


def kid(token):
    header = token.split('.')[0]
    return json.loads(base64.urlsafe_b64decode(header + '=' * (-len(header) % 4)))['kid']


def bearer(token):
    return [('Authorization', f'Bearer {token}')]
