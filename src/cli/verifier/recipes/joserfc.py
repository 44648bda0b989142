import json
import threading
import time
import urllib.request

from joserfc import jwt
from joserfc.jwk import KeySet

CACHE, COOLDOWN = {{cache}}, {{cooldown}}  # seconds
RULES = jwt.JWTClaimsRegistry(
    leeway={{leeway}},
    iss={"essential": True, "value": "{{issuer}}"},
    aud={"essential": True, "value": "{{audience}}"},
    sub={"essential": True},
    exp={"essential": True},
    stt={"essential": True, "value": 1},
)


class Keys:
    """The key set: fetched again when it is old, or a token names a key that is not in it."""

    def __init__(self):
        self.lock, self.fetched, self.known = threading.Lock(), None, {}

    def get(self, kid):
        with self.lock:
            age = float("inf") if self.fetched is None else time.monotonic() - self.fetched
            if age > CACHE or (kid not in self.known and age > COOLDOWN):
                with urllib.request.urlopen("{{jwks}}", timeout=5) as answer:
                    keys = KeySet.import_key_set(json.load(answer))
                self.known, self.fetched = {key.kid: key for key in keys}, time.monotonic()
            return self.known[kid]


KEYS = Keys()


def key_of(token):
    header = token.headers()
    if header.get("typ") != "at+jwt" or not isinstance(header.get("kid"), str):
        raise ValueError("another kind of token")
    return KEYS.get(header["kid"])


def verify(text):
    """The claims of a token that may do this here. Raises for any other."""
    token = jwt.decode(text, key_of, algorithms=["{{alg}}"])
    RULES.validate(token.claims)
    if "{{scope}}" not in token.claims.get("scp", []):
        raise PermissionError("insufficient_scope")
    return token.claims
