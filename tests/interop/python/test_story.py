"""The story in two languages: the Calendar Service in Node, the File Service in Python, a Task Service in each, and a
rotation of the signing key in the middle."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import requests

HERE = Path(__file__).resolve().parent
NODE, PYTHON = HERE.parent / "node" / "story", HERE / "story"
ADMIN_KEY = "admin-key-of-the-tests-0123456789"


class Story(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.addClassCleanup(cls.stack.close)
        directory = tempfile.mkdtemp(prefix="m2mint-story-")
        cls.stack.callback(shutil.rmtree, directory)
        cls.server, line = cls.start(
            [os.environ["M2MINT_BIN"]],
            cwd=directory,
            M2MINT_LISTEN="127.0.0.1:0",
            M2MINT_API_KEY=ADMIN_KEY,
            # In life a day: so the cooldown of verifiers, in life half a minute, is left out too.
            M2MINT_ROTATION__PROPAGATION="1s",
            M2MINT_LOG="warn",
        )
        cls.issuer = f"{line.split()[-1]}/auth"
        cls.admin = line.split()[-1]
        _, cls.calendar = cls.start(["node", "calendar.mjs"], cwd=NODE, ISSUER=cls.issuer, JWKS_COOLDOWN="0")
        # Binds port 0 and says which one it got.
        serve = "import socket, uvicorn; s = socket.create_server(('127.0.0.1', 0)); print(f'http://127.0.0.1:{s.getsockname()[1]}', flush=True); uvicorn.run('file_service:app', fd=s.fileno(), log_level='warning')"
        _, cls.files = cls.start([sys.executable, "-B", "-c", serve], cwd=PYTHON, ISSUER=cls.issuer, JWKS_COOLDOWN="0")
        cls.task = cls.client("Task Service", "event.* file.*")
        cls.intern = cls.client("Intern", "event.view file.view")

    @classmethod
    def start(cls, command, cwd, **environment):
        """A process that ends with the tests, and the first line that it prints."""
        environment = {"PATH": os.environ["PATH"], **environment}
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, text=True)

        def end():
            process.terminate()
            process.wait(10)
            process.stdout.close()

        cls.stack.callback(end)
        return process, process.stdout.readline().strip()

    @classmethod
    def client(cls, name, scope):
        answer = requests.post(
            f"{cls.admin}/recipe/oauth/clients",
            headers={"api-key": ADMIN_KEY},
            json={"clientName": name, "scope": scope, "audience": ["event", "file"]},
            timeout=10,
        )
        return answer.json()

    def token(self, client, audience, scope):
        form = {
            "grant_type": "client_credentials",
            "client_id": client["clientId"],
            "client_secret": client["clientSecret"],
            "audience": audience,
            "scope": scope,
        }
        return requests.post(f"{self.issuer}/oauth/token", form, timeout=10).json()["access_token"]

    def schedule(self, command, cwd, title):
        environment = {
            "PATH": os.environ["PATH"],
            "ISSUER": self.issuer,
            "CLIENT_ID": self.task["clientId"],
            "CLIENT_SECRET": self.task["clientSecret"],
            "CALENDAR": self.calendar,
            "FILES": self.files,
        }
        done = subprocess.run([*command, title], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)
        self.assertEqual((done.stdout, done.stderr), (f"scheduled {title}\n", ""))

    def ask(self, method, url, token):
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return requests.request(method, url, headers=headers, json={"title": "x"}, timeout=10)

    def both_look(self):
        events = self.ask("GET", f"{self.calendar}/events", self.token(self.task, "event", "event.view"))
        files = self.ask("GET", f"{self.files}/files", self.token(self.task, "file", "file.view"))
        return [event["title"] for event in events.json()], sorted(files.json())

    def rotate(self):
        def kid():
            return requests.get(f"{self.issuer}/jwt/jwks.json", timeout=10).json()["keys"][0]["kid"]

        before = kid()
        self.server.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + 20
        while kid() == before:
            self.assertLess(time.monotonic(), deadline, "the key does not rotate")
            time.sleep(0.05)

    def test_tasks_are_scheduled_across_languages_and_rotations(self):
        old = self.token(self.task, "event", "event.view"), self.token(self.task, "file", "file.view")
        for rotates, title in [(True, "first"), (True, "second"), (False, "third")]:
            self.schedule(["node", "task.mjs"], NODE, f"{title} from Node")
            self.schedule([sys.executable, "-B", "task.py"], PYTHON, f"{title} from Python")
            if rotates:
                self.rotate()
        events, files = self.both_look()
        self.assertEqual(len(events), 6)
        self.assertEqual(sorted(events), files)
        # Tokens from before the rotations are good until they expire.
        self.assertEqual(self.ask("GET", f"{self.calendar}/events", old[0]).status_code, 200)
        self.assertEqual(self.ask("GET", f"{self.files}/files", old[1]).status_code, 200)

    def test_both_services_refuse_whoever_may_not(self):
        event, file = self.token(self.intern, "event", "event.view"), self.token(self.intern, "file", "file.view")
        head, signature = event.rsplit(".", 1)
        forged = f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
        events, files = f"{self.calendar}/events", f"{self.files}/files"
        for name, status, method, url, token in [
            ("no token", 401, "GET", events, None),
            ("no token", 401, "GET", files, None),
            ("the event token at the File Service", 401, "GET", files, event),
            ("the file token at the Calendar Service", 401, "GET", events, file),
            ("a missing scope", 403, "POST", events, event),
            ("a missing scope", 403, "PUT", f"{files}/x", file),
            ("a changed token", 401, "GET", events, forged),
            ("a changed token", 401, "GET", files, forged),
            ("nonsense", 401, "GET", events, "x.y.z"),
            ("nonsense", 401, "GET", files, "x.y.z"),
        ]:
            with self.subTest(name, url=url):
                answer = self.ask(method, url, token)
                self.assertEqual(answer.status_code, status, answer.text)
                self.assertTrue(answer.headers["www-authenticate"].startswith("Bearer"))

    def test_a_token_that_expires_is_refused_by_both(self):
        requests.put(
            f"{self.admin}/recipe/oauth/clients",
            headers={"api-key": ADMIN_KEY},
            json={"clientId": self.intern["clientId"], "clientCredentialsGrantAccessTokenLifespan": "1s"},
            timeout=10,
        ).raise_for_status()
        event, file = self.token(self.intern, "event", "event.view"), self.token(self.intern, "file", "file.view")
        time.sleep(2.1)
        self.assertEqual(self.ask("GET", f"{self.calendar}/events", event).status_code, 401)
        self.assertEqual(self.ask("GET", f"{self.files}/files", file).status_code, 401)


if __name__ == "__main__":
    unittest.main()
