"""PyJWT as a called service, Authlib as a client, against the real binary."""

import os
import shutil
import subprocess
import tempfile
import unittest

import jwt
import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

ADMIN_KEY = "admin-key-of-the-tests-0123456789"


class Interop(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="m2mint-")
        environment = {
            "PATH": os.environ["PATH"],
            "M2MINT_LISTEN": "127.0.0.1:0",
            "M2MINT_API_KEY": ADMIN_KEY,
            "M2MINT_LOG": "warn",
        }
        cls.server = subprocess.Popen(
            [os.environ["M2MINT_BIN"]], cwd=cls.directory, env=environment, stdout=subprocess.PIPE, text=True
        )
        cls.url = cls.server.stdout.readline().split()[-1]
        answer = requests.post(
            f"{cls.url}/recipe/oauth/clients",
            headers={"api-key": ADMIN_KEY},
            json={"clientName": "Task Service", "scope": "event.* file.view", "audience": ["event", "file"]},
            timeout=10,
        )
        cls.client = answer.json()

    @classmethod
    def tearDownClass(cls):
        cls.server.terminate()
        cls.server.wait(10)
        cls.server.stdout.close()
        shutil.rmtree(cls.directory)

    def session(self, method="client_secret_basic", secret=None, scope="event.create"):
        secret = secret or self.client["clientSecret"]
        return OAuth2Session(
            self.client["clientId"],
            secret,
            scope=scope,
            token_endpoint_auth_method=method,
            revocation_endpoint_auth_method=method,
        )

    def token(self, session, **extra):
        url = f"{self.url}/auth/oauth/token"
        return session.fetch_token(url, grant_type="client_credentials", **{"audience": "event", **extra})

    def test_pyjwt_verifies_with_the_published_keys(self):
        token = self.token(self.session())["access_token"]
        key = jwt.PyJWKClient(f"{self.url}/auth/jwt/jwks.json").get_signing_key_from_jwt(token)
        options = {"require": ["iss", "sub", "aud", "iat", "exp", "jti", "client_id", "scope", "scp", "stt"]}
        claims = jwt.decode(
            token, key, algorithms=["EdDSA"], audience="event", issuer=f"{self.url}/auth", options=options
        )
        self.assertEqual((claims["client_id"], claims["scp"], claims["stt"]), (self.client["clientId"], ["event.create"], 1))

    def test_pyjwt_refuses_another_audience_and_a_changed_token(self):
        token = self.token(self.session())["access_token"]
        key = jwt.PyJWKClient(f"{self.url}/auth/jwt/jwks.json").get_signing_key_from_jwt(token)
        with self.assertRaises(jwt.InvalidAudienceError):
            jwt.decode(token, key, algorithms=["EdDSA"], audience="file")
        head, signature = token.rsplit(".", 1)
        forged = f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
        with self.assertRaises(jwt.InvalidSignatureError):
            jwt.decode(forged, key, algorithms=["EdDSA"], audience="event")

    def test_authlib_gets_introspects_and_revokes_both_ways(self):
        for method in ("client_secret_basic", "client_secret_post"):
            with self.subTest(method):
                session = self.session(method)
                token = self.token(session)
                self.assertEqual((token["token_type"], token["expires_in"], token["scope"]), ("Bearer", 3600, "event.create"))
                introspect = lambda: session.introspect_token(
                    f"{self.url}/auth/oauth/introspect", token=token["access_token"]
                ).json()
                self.assertTrue(introspect()["active"])
                answer = session.revoke_token(f"{self.url}/auth/oauth/revoke", token=token["access_token"])
                self.assertEqual(answer.status_code, 200)
                self.assertEqual(introspect(), {"active": False})

    def test_authlib_sees_errors(self):
        with self.assertRaises(OAuthError) as wrong:
            self.token(self.session(secret="wrong"))
        self.assertEqual(wrong.exception.error, "invalid_client")
        with self.assertRaises(OAuthError) as scope:
            self.token(self.session(scope="event.* mail.send"))
        self.assertEqual(scope.exception.error, "invalid_scope")
        with self.assertRaises(OAuthError) as target:
            self.token(self.session(), audience="mail")
        self.assertEqual(target.exception.error, "invalid_target")


if __name__ == "__main__":
    unittest.main()
