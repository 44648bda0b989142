"""usage: check.py CHECKS ROUNDS < {"token", "jwks", "now"}    prints microseconds of CPU a check and round"""
import json
import sys
import time

import jwt

checks, rounds = map(int, sys.argv[1:])
given = json.load(sys.stdin)
key = jwt.PyJWK(given['jwks']['keys'][0])
samples = []
for _ in range(rounds):
    start = time.process_time()
    for _ in range(checks):
        jwt.decode(given['token'], key, algorithms=['EdDSA'], audience='event', issuer='https://auth.example.com/auth')
    samples.append((time.process_time() - start) / checks * 1e6)
print(json.dumps({'PyJWT (PyPI)': samples}))
