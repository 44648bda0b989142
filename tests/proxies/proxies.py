"""The proxies: each runs its recipe as it is, but for names and ports."""
import contextlib
import os
import subprocess

from support import HOST, RECIPES, bearer, check, eventually, kid, running, wait_for

MODULES = '/usr/lib/apache2/modules'


class Proxy:
    # Whether it checks tokens by itself.
    offline = False
    wrong_audience = 'meant for another audience'
    # Whether what begins with X-M2mint- goes, beside the three that are replaced.
    removes_all = False

    def __init__(self, name, *needs):
        self.name, self.needs = name, needs or (name,)

    @contextlib.contextmanager
    def running(self, directory, port, service, issuer, *offline):
        self.directory = directory
        replaced = {
            '127.0.0.1:3567': f'127.0.0.1:{issuer}', '127.0.0.1:3001': f'127.0.0.1:{service}', **self.replaced(directory, port)}
        self.environment = {**os.environ, 'HOME': str(directory), 'XDG_DATA_HOME': str(directory), 'XDG_CONFIG_HOME': str(directory)}
        self.port, self.started_as = port, self.command(directory, port, replaced, *offline)
        with self.started():
            yield

    @contextlib.contextmanager
    def started(self):
        with open(self.directory / 'proxy.log', 'a') as log:
            with running(self.started_as, env=self.environment, stdout=log, stderr=log) as process:
                self.process = process
                yield

    @contextlib.contextmanager
    def restarted(self):
        self.process.terminate()
        self.process.wait(10)
        with self.started():
            wait_for(self.port)
            yield

    def recipe(self, name, replaced):
        text = (RECIPES / name).read_text()
        for old, new in replaced.items():
            text = text.replace(old, new)
        return text

    def write(self, name, replaced):
        path = self.directory / name
        path.write_text(self.recipe(name, replaced))
        return path


class Nginx(Proxy):
    def replaced(self, directory, port):
        return {'listen 8080': f'listen 127.0.0.1:{port}'}

    def command(self, directory, port, replaced):
        (directory / 'site.conf').write_text(self.recipe('nginx.conf', replaced))
        temporary = '\n'.join(f'{name}_temp_path {directory}/{name};' for name in ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'])
        (directory / 'nginx.conf').write_text(
            f'pid {directory}/nginx.pid;\nerror_log {directory}/nginx.log;\ndaemon off;\nevents {{}}\n'
            f'http {{\naccess_log off;\n{temporary}\ninclude {directory}/site.conf;\n}}\n')
        return ['nginx', '-e', directory / 'nginx.log', '-p', directory, '-c', directory / 'nginx.conf']


class Caddy(Proxy):
    removes_all = True

    def replaced(self, directory, port):
        return {f'http://{HOST} {{': f'http://{HOST}:{port} {{\n\tbind 127.0.0.1'}

    def command(self, directory, port, replaced):
        path = directory / 'Caddyfile'
        path.write_text('{\nadmin off\nauto_https off\n}\n' + self.recipe('Caddyfile', replaced))
        return ['caddy', 'run', '--adapter', 'caddyfile', '--config', path]


class Haproxy(Proxy):
    removes_all = True

    def replaced(self, directory, port):
        return {'bind :8080': f'bind 127.0.0.1:{port}', '/etc/haproxy': str(directory)}

    def command(self, directory, port, replaced):
        self.write('haproxy.lua', replaced)
        return ['haproxy', '-db', '-f', self.write('haproxy.cfg', replaced)]


class Offline(Proxy):
    offline = True
    wrong_audience = 'invalid_token'
    # Wrong tokens, none of which m2mint signs, that pass nevertheless, as README.md says.
    lets_in = ()


class HaproxyJwt(Offline, Haproxy):
    """With the key files that haproxy-keys writes."""
    lets_in = ('two aud, the right one first', 'an iat of tomorrow')

    def command(self, directory, port, replaced, issuer, key_set):
        self.key_set, self.process = key_set, None
        assert self.bring_keys('true') == 0
        path = self.write('haproxy-jwt.cfg', {**replaced, 'https://auth.example.com/auth': issuer})
        # As Debian's unit starts it: a master, which a signal tells to reload.
        return ['haproxy', '-W', '-db', '-f', path]

    def bring_keys(self, reload=None):
        reload = reload or f'kill -USR2 {self.process.pid}'
        done = subprocess.run(
            [RECIPES / 'haproxy-keys', self.key_set.url, '--directory', self.directory / 'm2mint', '--reload', reload],
            env={**os.environ, 'SSL_CERT_FILE': str(self.key_set.authority)}, capture_output=True, text=True)
        self.said = done.stdout + done.stderr
        return done.returncode

    def known(self):
        return {line.split()[0] for line in (self.directory / 'm2mint' / 'kids.map').read_text().splitlines()}

    def after_rotation(self, tried, old, new):
        check(f'{self.name}: the standby was there before it signed', {kid(old), kid(new)} <= self.known())
        before = self.known()
        check(f'{self.name}: the key files follow', self.bring_keys() == 0 and len(self.known() - before) == 1, self.said)
        check(f'{self.name}: nothing new is no reload', self.bring_keys('false') == 0 and not self.said, self.said)
        tried.passes('a token from before the rotation passes after the reload', old)
        tried.passes('a token from after it passes after the reload', new)
        tried.issuer.verb('keys', 'revoke', kid(old), '--yes')
        gone = eventually(lambda: self.bring_keys() == 0 and kid(old) not in self.known())
        check(f'{self.name}: the file of a key that is published no more goes', gone, self.said)
        eventually(lambda: tried.ask('GET', '/events', bearer(old))[0] == 401)
        tried.test('a token of a key that is published no more is refused', 401, tried.ask('GET', '/events', bearer(old)))
        tried.passes('the others pass', new)

    @contextlib.contextmanager
    def afresh(self, tried, old, new):
        """While m2mint is down, HAProxy starts with the keys in its files."""
        before = self.known()
        check(f'{self.name}: the files stay while m2mint is down', self.bring_keys() == 1 and self.known() == before, self.said)
        with self.restarted():
            tried.passes('started while m2mint is down, it lets good tokens pass', new)
            with tried.issuer.start():
                wait_for(tried.issuer.port)
                yield


class Apache(Offline):
    lets_in = ('two aud, the right one last', 'an iat of tomorrow')

    def replaced(self, directory, port):
        return {'*:8080': f'127.0.0.1:{port}'}

    def command(self, directory, port, replaced, issuer, key_set):
        self.key_set = key_set
        url = 'https://auth.example.com/auth/jwt/jwks.json?alg=ES256'
        path = self.write('apache.conf', {**replaced, url: key_set.url, 'https://auth.example.com/auth': issuer})
        # The user that answers requests reads the test's certificate authority.
        directory.chmod(0o711)
        key_set.authority.chmod(0o644)
        modules = ['mpm_event', 'authz_core', 'authn_core', 'auth_openidc', 'headers', 'proxy', 'proxy_http', 'rewrite', 'setenvif']
        loaded = '\n'.join(f'LoadModule {name}_module {MODULES}/mod_{name}.so' for name in modules)
        (directory / 'httpd.conf').write_text(
            f'ServerRoot {directory}\nDefaultRuntimeDir {directory}\nPidFile {directory}/apache.pid\nErrorLog {directory}/apache.log\n'
            f'User nobody\nGroup nogroup\nServerName localhost\nListen 127.0.0.1:{port}\n{loaded}\n'
            f'OIDCCABundlePath {key_set.authority}\nInclude {path}\n')
        return ['apache2', '-f', directory / 'httpd.conf', '-DFOREGROUND']

    def after_rotation(self, tried, old, new):
        asked = self.key_set.asked
        statuses = [tried.ask('GET', '/events', bearer(new))[0] for _ in range(10)]
        check(f'{self.name}: ten requests fetch no keys', statuses == [200] * 10 and self.key_set.asked == asked, statuses)
        tried.issuer.verb('keys', 'revoke', kid(old), '--yes')
        eventually(lambda: kid(old) not in {key['kid'] for key in tried.issuer.keys()})
        tried.passes('a token of a revoked key passes until the keys are fetched again', old)

    @contextlib.contextmanager
    def afresh(self, tried, old, new):
        """While m2mint is down, Apache starts without a key."""
        with self.restarted():
            tried.test('started while m2mint is down, it lets nothing pass', 401, tried.ask('GET', '/events', bearer(new)))
            with tried.issuer.start():
                wait_for(tried.issuer.port)
                tried.passes('and a good token when m2mint is back', new)
                tried.test('a token of the revoked key no more', 401, tried.ask('GET', '/events', bearer(old)))
                yield


ALL = [Nginx('nginx'), Caddy('caddy'), Haproxy('haproxy'), HaproxyJwt('haproxy-jwt', 'haproxy', 'openssl'),
       Apache('apache', 'apache2', 'openssl')]
