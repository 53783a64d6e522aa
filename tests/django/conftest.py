"""What the tests share: a real gateway, signed requests, the fixture that projects are given."""

import contextlib
import json
import os
import secrets
import subprocess
from pathlib import Path

import pytest
import redis
from django.conf import settings

import groupcast
from scripted import Script
from servers import eventually, free_port, running

# The helper is a package, or the one file that `groupcast init django` writes.
CONFIGURATION, GATEWAY, HANDLERS, LOGOUT = (
    getattr(groupcast, f"_{module}", groupcast)
    for module in ("configuration", "gateway", "handlers", "logout")
)
# The folder to put on PYTHONPATH.
HELPER = Path(groupcast.__file__).resolve().parents[0 if GATEWAY is groupcast else 1]
if GATEWAY is groupcast:
    from groupcast import groupcast_recorder, groupcast_sent  # noqa: F401  fixtures
else:
    pytest_plugins = ["groupcast.pytest_plugin"]

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("GROUPCAST_BIN", str(ROOT / "target/debug/groupcast"))
# The headers that nginx sends to Django for a browser that uses HTTPS.
HTTPS = {"X-Forwarded-Proto": "https", "Host": "tienda.example"}


class Gateway:
    """A gateway process; `api` is where Django sends."""

    def __init__(self, folder, config="", api="127.0.0.1:0", key=None):
        self.key = key or secrets.token_urlsafe(24)
        folder.joinpath("gateway.toml").write_text(
            f"""
[listen]
public = "127.0.0.1:0"
api = "{api}"
[log]
format = "json"
[[auth.key]]
algorithm = "HS256"
secret = "{secrets.token_urlsafe(32)}"
[[api.key]]
name = "django"
secret = "{self.key}"
groups = ["*"]
allow = ["send", "send_user", "members", "close", "read"]
{config}"""
        )
        # The gateway takes every GROUPCAST_ variable for configuration, and refuses unknown ones.
        ours = {k: v for k, v in os.environ.items() if not k.startswith("GROUPCAST_")}
        # A file, not a pipe: a pipe that is not read would block the gateway.
        self.log = folder / "log"
        with self.log.open("w") as log:
            command = [BINARY, "serve", "--config", str(folder / "gateway.toml")]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=ours)
        first = eventually(lambda: next(iter(self.log.read_text().splitlines()), None))
        try:
            self.public, self.api = (json.loads(first)[name] for name in ("public", "api"))
        except (ValueError, KeyError):
            raise AssertionError(f"{BINARY} did not start: {self.log.read_text()}") from None

    def settings(self, **other):
        """`settings.GROUPCAST` for this gateway."""
        here = {"API": f"http://{self.api}", "KEY": self.key}
        return {**settings.GROUPCAST, **here, **other}

    def end(self):
        self.process.terminate()
        assert self.process.wait(timeout=30) == 0


def hang_up():
    """Closes the connection that this thread keeps."""
    GATEWAY.kept.__dict__.clear()


@pytest.fixture(scope="session")
def process(tmp_path_factory):
    running = Gateway(tmp_path_factory.mktemp("gateway"))
    yield running
    running.end()


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    """The URL of a Redis of the tests' own, for Celery."""
    folder, port = tmp_path_factory.mktemp("redis"), free_port()
    client = redis.Redis(port=port)

    def is_ready():
        with contextlib.suppress(redis.ConnectionError):
            return client.ping()

    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with running(command, folder / "log", is_ready, cwd=folder):
        yield f"redis://127.0.0.1:{port}/3"
    client.close()


@pytest.fixture
def gateway(process, settings):
    """A real gateway that the settings name."""
    settings.GROUPCAST = process.settings()
    return process


@pytest.fixture
def script(settings):
    """`script(answers…)`: an API of the test's own that the settings name."""
    servers = []

    def start(*answers):
        server = Script(*answers)
        servers.append(server)
        address = "http://{}:{}".format(*server.server_address)
        settings.GROUPCAST = {**settings.GROUPCAST, "API": address, "TIMEOUT": 3.0}
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def fresh_thread():
    """Each test ends without a kept connection."""
    yield
    hang_up()


@pytest.fixture
def ask(client, db):
    """`ask(method, target, body, …)`: as the gateway asks, signed unless `signature` is given."""

    def ask(method, target, body=b"", *, ws_path="/ws/", signature=None, **headers):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if signature is None:
            signature = groupcast.sign(method, target, body, ws_path)
        names = {**HTTPS, "Groupcast-Path": ws_path, "Groupcast-Signature": signature, **headers}
        extra = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in names.items()}
        client.handler.enforce_csrf_checks = True
        return client.generic(method, target, body, content_type="application/json", **extra)

    return ask


@pytest.fixture
def call(ask):
    """`call(name, data, sub=…)`: a browser's call, as the gateway passes it on."""

    def call(name, data=None, *, sub="7", **other):
        headers = other.pop("headers", {})
        body = {
            "call": name,
            "data": data,
            "connection": "k3f5a2bq-17",
            "channel": "groupcast.groupcast.c5!k3f5a2bq-17",
            "sub": sub,
            "claims": {"tenant": "norte"},
            "session": None,
            "path": "/ws/",
            **other,
        }
        return ask("POST", "/groupcast/call", body, **headers)

    return call


@pytest.fixture
def user(django_user_model, db):
    return django_user_model.objects.create_user("ana", password="of the tests")
