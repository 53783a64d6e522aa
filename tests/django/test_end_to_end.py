"""Browser, gateway and site, all real: gunicorn with two workers, production settings."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from celery import Celery
from django.conf import settings as project
from django.db import connection
from django.test import Client
from gunicorn.config import make_settings
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as open_websocket

import groupcast
from conftest import GATEWAY, HELPER, Gateway, eventually

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG = """
[backend]
url = "http://{site}"
host = "tienda.example"
headers = {headers}
cache = "0s"
cache_refusals = "0s"
[[backend.key]]
id = "1"
secret = "{secret}"
[[grant]]
calls = ["*"]
[[route]]
path = "/ws/"
join = ["usuario_{{sub}}"]
call_errors = true
[[route]]
path = "/ws/room/{{room}}/"
allow = "hook"
"""


@pytest.fixture
def site(transactional_db, tmp_path):
    """Where gunicorn serves the shop, with the database of the test."""
    log = tmp_path / "gunicorn"
    command = [sys.executable, "-m", "gunicorn", "--workers", "2", "--threads", "2"]
    # The last gunicorn for Python 3.9 has no such socket, and does not know the option.
    known = {option for setting in make_settings().values() for option in setting.cli or ()}
    command += sorted(known & {"--no-control-socket"})
    command += ["--bind", "127.0.0.1:0", "shop.wsgi"]
    path = os.pathsep.join([str(Path(__file__).parent), str(HELPER)])
    variables = {
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "PYTHONPATH": path,
        "PYTHONDONTWRITEBYTECODE": "1",
        "SHOP_DATABASE": str(connection.settings_dict["NAME"]),
    }
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **variables})
    try:
        listening = r"Listening at: http://(\S+)"
        yield eventually(lambda: re.search(listening, log.read_text())).group(1)
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def start(site, tmp_path, settings):
    """`start(headers, more)`: a gateway before the site, which the settings name."""
    running = []

    def start(headers='{ "X-Forwarded-Proto" = "https" }', more=""):
        secret = project.GROUPCAST["SECRET"]
        config = CONFIG.format(site=site, headers=headers, secret=secret)
        gateway = Gateway(tmp_path, config + more)
        running.append(gateway)
        settings.GROUPCAST = gateway.settings()
        return gateway

    yield start
    for gateway in running:
        gateway.end()


@contextlib.contextmanager
def browser(gateway, client, path="/ws/", scheme="https"):
    """A bare WebSocket as a browser opens it, through a proxy that ends TLS."""
    host, port = gateway.public.rsplit(":", 1)
    cookies = "; ".join(f"{name}={cookie.value}" for name, cookie in client.cookies.items())
    with open_websocket(
        f"ws://tienda.example{path}",
        sock=socket.create_connection((host, int(port))),
        origin="https://tienda.example",
        additional_headers={"Cookie": cookies, "X-Forwarded-Proto": scheme},
        open_timeout=20,
    ) as websocket:
        yield websocket


def received(websocket):
    return json.loads(websocket.recv(timeout=20))


def code(websocket):
    """The code that it is closed with, next."""
    with pytest.raises(ConnectionClosed) as closed:
        websocket.recv(timeout=20)
    return closed.value.rcvd.code


def members(group):
    """Waits for one member."""
    return eventually(lambda: GATEWAY.ask_gateway("GET", f"/groups/{group}")["connections"])


def test_a_session_cookie_connects_and_a_sent_event_arrives(start, client, user):
    gateway = start()
    client.force_login(user)
    with browser(gateway, client, "/ws/") as page, browser(gateway, client, "/ws/room/3/") as room:
        assert members(f"usuario_{user.pk}") == members("room_3") == 1
        groupcast.send(f"usuario_{user.pk}", {"type": "image_ready", "id": 42})
        assert received(page) == {"type": "image_ready", "id": 42}
        groupcast.send("room_3", {"type": "entered"})
        assert received(room) == {"type": "entered"}
        groupcast.send_user(user, {"type": "to both"})
        assert received(page) == received(room) == {"type": "to both"}


def test_closes_4401_without_a_login_and_4403_without_permission(start, client, user):
    gateway = start()
    with browser(gateway, client) as page:
        assert code(page) == 4401
    client.force_login(user)
    with browser(gateway, client, "/ws/room/13/") as room:
        assert code(room) == 4403


def test_calls_reach_their_handler_as_the_user(start, client, user):
    gateway = start()
    client.force_login(user)
    with browser(gateway, client) as page:
        page.send(json.dumps({"action": "who", "x": 1}))
        result = received(page)
        assert (result["user"], result["sub"]) == ("ana", str(user.pk))
        assert result["data"] == {"action": "who", "x": 1}
        assert result["path"] == "/ws/"
        assert len(result["session"]) == 64
        page.send(json.dumps({"action": "enter", "room": 5}))
        assert received(page) == {"room": "room_5"}
        assert members("room_5") == 1
        page.send(json.dumps({"action": "fly"}))
        refused = received(page)
        assert (refused["type"], refused["code"]) == ("error", "not_found")
        page.send(json.dumps({"action": "eject"}))
        assert code(page) == 4403


def test_the_log_names_a_setting_that_breaks_the_hook(start, client, user):
    gateway = start(headers="{}")
    client.force_login(user)
    with browser(gateway, client, scheme="http") as page:
        assert code(page) == 4503
    assert eventually(lambda: "SECURE_SSL_REDIRECT" in gateway.log.read_text())


def test_a_logout_closes_its_browser_and_invalidates_the_cookie(start, client, user):
    here = partial(browser, start())
    elsewhere = Client()
    for each in (client, elsewhere):
        each.force_login(user)
    with here(client) as page, here(client) as second, here(elsewhere) as other:
        assert eventually(lambda: len(groupcast.look(user)["connections"]) == 3)
        old = client.cookies.copy()
        client.post("/logout", secure=True)
        assert (code(page), code(second)) == (4401, 4401)
        groupcast.send_user(user, {"type": "still here"})
        assert received(other) == {"type": "still here"}
        groupcast.disconnect(user, 4503)
        assert code(other) == 4503
    client.cookies = old
    with here(client) as again:
        assert code(again) == 4401


@pytest.mark.filterwarnings("ignore:Call to deprecated")  # Celery's, of Redis' library
def test_a_page_watches_a_task_with_its_ticket_alone(start, client, user, broker):
    gateway = start(more=f'[celery]\nresults = "{broker}"\n')
    app = Celery("shop", backend=broker, set_as_current=False)
    app.backend.store_result("t-1", {"current": 5, "total": 12}, "PROGRESS")
    client.force_login(user)
    with browser(gateway, client) as websocket:
        for ticket in ("t-1", groupcast.ticket("t-1", user)):
            websocket.send(json.dumps({"action": "groupcast.watch", "ticket": ticket}))
        refusal, state = received(websocket), received(websocket)
        assert refusal["code"] == "forbidden"
        progress = {"current": 5, "total": 12}
        expected = {"type": "task.state", "id": "t-1", "state": "PROGRESS", "progress": progress}
        assert state == expected
        app.backend.store_result("t-1", "the result", "SUCCESS")
        assert received(websocket) == {"type": "task.state", "id": "t-1", "state": "SUCCESS"}
    app.close()
