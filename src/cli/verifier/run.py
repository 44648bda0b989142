#!/usr/bin/env python3
"""Tries the tokens of this pack on a service, and says which were let in.

usage: run URL [--method METHOD] [--body TEXT] [--header 'NAME: VALUE']

While it runs, it is the issuer of the pack: the service under test gets metadata and keys from it.
Exit code: 0 when the service refuses every bad token, 1 when it lets one in, 2 when it refuses the good one.
"""
import argparse
import http.server
import json
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

PACK = json.loads((Path(__file__).resolve().parent / 'pack.json').read_text())
METADATA = {'issuer': PACK['issuer'], 'jwks_uri': PACK['issuer'] + '/jwks.json',
            'id_token_signing_alg_values_supported': [PACK['algorithm']], 'response_types_supported': [], 'subject_types_supported': ['public']}


class Issuer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.split('?')[0]
        known = {'/jwks.json': PACK['jwks'], '/jwt/jwks.json': PACK['jwks'],
                 '/.well-known/openid-configuration': METADATA, '/.well-known/oauth-authorization-server': METADATA}
        body = json.dumps(known.get(path, {'error': 'not_found'})).encode()
        self.send_response(200 if path in known else 404)
        self.send_header('content-type', 'application/json')
        self.send_header('content-length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def ask(arguments, token):
    headers = dict(header.split(': ', 1) for header in arguments.header)
    request = urllib.request.Request(arguments.url, method=arguments.method, headers=headers | {'Authorization': f'Bearer {token}'},
                                     data=arguments.body.encode() if arguments.body is not None else None)
    try:
        with urllib.request.build_opener(NoRedirect).open(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as answer:
        return answer.code
    except OSError as error:
        return str(getattr(error, 'reason', error))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('url', help='the action to try, such as http://127.0.0.1:8080/events')
    parser.add_argument('--method', default='GET')
    parser.add_argument('--body', default=None)
    parser.add_argument('--header', action='append', default=[], metavar="'NAME: VALUE'")
    arguments = parser.parse_args()
    address = urllib.parse.urlsplit(PACK['issuer'])
    try:
        issuer = http.server.ThreadingHTTPServer((address.hostname, address.port), Issuer)
    except OSError as error:
        sys.exit(f'cannot be the issuer at {PACK["issuer"]}: {error.strerror}')
    threading.Thread(target=issuer.serve_forever, daemon=True).start()

    let_in, lax, odd = [], [], []
    width = max(len(each['name']) for each in PACK['tokens'])
    for each in PACK['tokens']:
        status = ask(arguments, each['token'])
        entered = isinstance(status, int) and status < 400
        refused = status in (400, 401, 403, 413, 414, 431)
        if each['kind'] == 'good':
            print(f'{each["name"]:{width}}  {status}  {each["what"]}')
            if not entered:
                print(f'\nThe service does not let the good token in. Is it pointed at {PACK["issuer"]}, with the audience {PACK["audience"]}?'
                      ' Is the pack younger than a day?')
                sys.exit(2)
            continue
        verdict = 'LET IN' if entered and each['kind'] == 'hole' else 'let in' if entered else 'refused' if refused else f'odd: {status}'
        print(f'{each["name"]:{width}}  {verdict:8}  {each["what"]}')
        (let_in if verdict == 'LET IN' else lax if entered else odd if not refused else []).append(each['name'])
    print()
    if lax:
        print(f'{len(lax)} that strict services refuse were let in: {", ".join(lax)}')
    if odd:
        print(f'{len(odd)} were neither let in nor refused with 401 or 403: {", ".join(odd)}')
    if let_in:
        print(f'{len(let_in)} bad tokens were LET IN: {", ".join(let_in)}')
        sys.exit(1)
    print(f'none of {len(PACK["tokens"]) - 1} bad tokens opens a hole')


if __name__ == '__main__':
    main()
