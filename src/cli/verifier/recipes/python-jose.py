import json
import threading
import time
import urllib.request

from jose import jwt

CACHE, COOLDOWN = {{cache}}, {{cooldown}}  # seconds


class Keys:
    """The key set: fetched again when it is old, or a token names a key that is not in it."""

    def __init__(self):
        self.lock, self.fetched, self.known = threading.Lock(), None, {}

    def get(self, kid):
        with self.lock:
            age = float("inf") if self.fetched is None else time.monotonic() - self.fetched
            if age > CACHE or (kid not in self.known and age > COOLDOWN):
                with urllib.request.urlopen("{{jwks}}", timeout=5) as answer:
                    keys = json.load(answer)["keys"]
                self.known, self.fetched = {key["kid"]: key for key in keys}, time.monotonic()
            return self.known[kid]


KEYS = Keys()


def verify(token):
    """The claims of a token that may do this here. Raises for any other."""
    header = jwt.get_unverified_header(token)
    if header.get("typ") != "at+jwt" or "crit" in header or not isinstance(header.get("kid"), str):
        raise ValueError("another kind of token")
    claims = jwt.decode(
        token,
        KEYS.get(header["kid"]),
        algorithms=["{{alg}}"],
        issuer="{{issuer}}",
        audience="{{audience}}",
        options={"leeway": {{leeway}}, "require_iss": True, "require_aud": True, "require_exp": True, "require_sub": True},
    )
    if claims.get("stt") != 1:
        raise ValueError("not a token of a service")
    if "{{scope}}" not in claims.get("scp", []):
        raise PermissionError("insufficient_scope")
    return claims
