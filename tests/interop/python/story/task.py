"""The Task Service in Python: schedules the task that it is given, by creating an event and a file.

usage: ISSUER= CLIENT_ID= CLIENT_SECRET= CALENDAR= FILES= task.py TITLE
"""
import os
import sys

from authlib.integrations.requests_client import OAuth2Session


def service(audience, scope):
    """A session with a token for one service: each that is called needs one of its own."""
    session = OAuth2Session(os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"], scope=scope)
    session.fetch_token(f"{os.environ['ISSUER']}/oauth/token", grant_type="client_credentials", audience=audience)
    return session


title = sys.argv[1]
calendar, files = service("event", "event.create"), service("file", "file.create")
calendar.post(f"{os.environ['CALENDAR']}/events", json={"title": title}).raise_for_status()
files.put(f"{os.environ['FILES']}/files/{title}").raise_for_status()
print(f"scheduled {title}")
