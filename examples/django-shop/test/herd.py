#!/usr/bin/env python3
"""What it costs the site when a gateway with many browsers is restarted.

    make demo-herd            (examples/django-shop/test/herd.py [--sockets 2000])

Opens so many WebSockets, each of a user and session of its own, then ends the gateways one after the
other, and counts how often Django was asked who somebody is. The sockets come back at random within
5 s, as clients should.
"""

import argparse
import asyncio
import base64
import json
import os
import pathlib
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time

SHOP = pathlib.Path(__file__).resolve().parents[1]
CLIENT_HEADERS = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13"
PATIENCE_S = 120
TEXT, CLOSE, PING = 1, 8, 9

MAKE_SESSIONS = """
from datetime import timedelta
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.utils import timezone

Users, store = get_user_model().objects, SessionStore()
users = Users.bulk_create(Users.model(username=f"herd-{n}", password="!") for n in range(COUNT))
sessions = []
for user in users:
    data = {
        SESSION_KEY: str(user.pk),
        BACKEND_SESSION_KEY: "django.contrib.auth.backends.ModelBackend",
        HASH_SESSION_KEY: user.get_session_auth_hash(),
    }
    until = timezone.now() + timedelta(hours=1)
    key = store._get_new_session_key()
    sessions.append(Session(session_key=key, session_data=store.encode(data), expire_date=until))
    print("key", key)
Session.objects.bulk_create(sessions)
"""


class Herd:
    def __init__(self, ready):
        self.ready, self.connected, self.closes = ready, 0, 0
        self.site_log = pathlib.Path(self.facts["folder"]) / "log" / "site.log"

    @property
    def facts(self):
        return json.loads(self.ready.read_text())

    def sessions(self, count):
        with open(f"/proc/{self.facts['pids']['site']}/environ") as variables:
            given = (entry.partition("=") for entry in variables.read().split("\0") if entry)
            environment = {name: value for name, _, value in given}
        code = MAKE_SESSIONS.replace("COUNT", str(count))
        command = [sys.executable, str(SHOP / "manage.py"), "shell", "--no-imports", "--command", code]
        told = subprocess.run(command, env=environment, text=True, stdout=subprocess.PIPE, check=True)
        return [line.split()[1] for line in told.stdout.splitlines() if line.startswith("key ")]

    def asked(self):
        """How often the site was asked who somebody is."""
        return self.site_log.read_text().count('"GET /groupcast/connect')

    async def browser(self, session):
        while True:
            try:
                await self.connection(session)
            except (OSError, asyncio.IncompleteReadError):
                pass
            await asyncio.sleep(random.uniform(0.25, 5))

    async def connection(self, session):
        """From the handshake to the close; connected once the greeting has come."""
        host = f"127.0.0.1:{self.facts['ports']['PORT']}"
        reader, writer = await asyncio.open_connection(*host.split(":"))
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        names = f"Host: {host}\r\nOrigin: http://{host}\r\nCookie: sessionid={session}"
        request = f"GET /ws/notificaciones/ HTTP/1.1\r\n{names}\r\n{CLIENT_HEADERS}\r\n"
        writer.write(f"{request}Sec-WebSocket-Key: {key}\r\n\r\n".encode())
        greeted = False
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 101 "):
                raise OSError(head.partition(b"\r\n")[0])
            while True:
                kind, length = await reader.readexactly(2)
                if length == 126:
                    length = int.from_bytes(await reader.readexactly(2))
                body = await reader.readexactly(length)
                if kind & 15 == TEXT and not greeted:
                    greeted = True
                    self.connected += 1
                elif kind & 15 == PING:
                    writer.write(bytes([0x8A, 0x80 | length, 0, 0, 0, 0]) + body)
                elif kind & 15 == CLOSE:
                    self.closes += 1
                    return
        finally:
            self.connected -= greeted
            writer.close()

    async def measure(self, count):
        sessions = self.sessions(count)
        before, start = self.asked(), time.monotonic()
        browsers = [asyncio.create_task(self.browser(session)) for session in sessions]
        await until(lambda: self.connected == count)
        took, asked = time.monotonic() - start, self.asked() - before
        print(f"{count} sockets from nothing: {asked} questions in {took:.1f} s, {asked / took:.0f}/s")
        for name in ("gateway-a", "gateway-b"):
            await self.restart(name, count)
        for browser in browsers:
            browser.cancel()

    async def restart(self, name, count):
        before, pid, self.closes = self.asked(), self.facts["pids"][name], 0
        os.kill(pid, signal.SIGTERM)
        start = time.monotonic()
        await until(lambda: self.facts["pids"][name] != pid)
        await until(lambda: self.connected == count)
        took = time.monotonic() - start
        asked = self.asked() - before
        print(f"{name} restarted: {self.closes} closed, all back in {took:.1f} s, {asked} questions")
        # nginx spreads them again only as they come back; so the second one holds more of them.


async def until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {PATIENCE_S} s")
        await asyncio.sleep(0.05)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sockets", type=int, default=2000)
    parser.add_argument("--gateway", help="the groupcast binary")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ready = pathlib.Path(folder) / "ready"
        command = [sys.executable, str(SHOP / "demo.py"), "--port", "0", "--ready-file", str(ready)]
        command += ["--gateway", options.gateway] if options.gateway else []
        demo = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while not ready.exists():
                if demo.poll() is not None:
                    return 1
                time.sleep(0.1)
            asyncio.run(Herd(ready).measure(options.sockets))
        finally:
            demo.terminate()
            demo.wait()


if __name__ == "__main__":
    sys.exit(main())
