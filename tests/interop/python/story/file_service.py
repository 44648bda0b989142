"""The File Service in Python: FastAPI, and PyJWT.

usage: ISSUER=http://127.0.0.1:3567/auth uvicorn file_service:app
"""
import os
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, Header, HTTPException

ISSUER = os.environ["ISSUER"]
# Seconds for which a key that is not known is not asked for again.
COOLDOWN = float(os.environ.get("JWKS_COOLDOWN", "30"))
KEYS = jwt.PyJWKClient(f"{ISSUER}/jwt/jwks.json", cooldown_duration=COOLDOWN)


class Requires:
    """Lets a request in whose token grants a scope at this service, and says which client calls."""

    def __init__(self, scope):
        self.scope = scope

    def __call__(self, authorization: Annotated[str, Header()] = "") -> str:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise refusal(401, "Bearer", "a bearer token is needed")
        try:
            # A key that is not known is fetched: the issuer rotates.
            key = KEYS.get_signing_key_from_jwt(token)
            claims = jwt.decode(
                token, key, algorithms=["EdDSA"], audience="file", issuer=ISSUER, options={"require": ["exp", "stt", "scp", "client_id"]}
            )
            if jwt.get_unverified_header(token).get("typ") != "at+jwt" or claims["stt"] != 1:
                raise jwt.InvalidTokenError("not an access token")
        except (jwt.InvalidTokenError, jwt.PyJWKClientError) as error:
            raise refusal(401, 'Bearer error="invalid_token"', type(error).__name__) from error
        if self.scope not in claims["scp"]:
            raise refusal(403, 'Bearer error="insufficient_scope"', f"{self.scope} is missing")
        return claims["client_id"]


def refusal(status, challenge, why):
    return HTTPException(status, why, {"WWW-Authenticate": challenge})


app = FastAPI()
files: dict[str, str] = {}


@app.get("/files")
def view(_: Annotated[str, Depends(Requires("file.view"))]):
    return files


@app.put("/files/{name}", status_code=201)
def create(name: str, caller: Annotated[str, Depends(Requires("file.create"))]):
    files[name] = caller
    return {"name": name, "createdBy": caller}
