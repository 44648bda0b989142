import jwt

KEYS = jwt.PyJWKClient("{{jwks}}", lifespan={{cache}}, cooldown_duration={{cooldown}}, timeout=5)


def verify(token):
    """The claims of a token that may do this here. Raises for any other."""
    header = jwt.get_unverified_header(token)
    if header.get("typ") != "at+jwt":
        raise jwt.InvalidTokenError("another kind of token")
    claims = jwt.decode(
        token,
        KEYS.get_signing_key(header.get("kid")),
        algorithms=["{{alg}}"],
        issuer="{{issuer}}",
        audience="{{audience}}",
        leeway={{leeway}},
        options={"require": ["sub", "iss", "aud", "iat", "exp", "jti"], "strict_aud": True},
    )
    if claims.get("stt") != 1:
        raise jwt.InvalidTokenError("not a token of a service")
    if "{{scope}}" not in claims.get("scp", []):
        raise PermissionError("insufficient_scope")
    return claims
