"""Events from Django to a real gateway."""

import http.client
import http.server
import json
import os
import socket
import threading
import time
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import transaction

import groupcast
from conftest import GATEWAY, Gateway, hang_up

pytestmark = pytest.mark.django_db


def accepted(gateway, path="/groups/{name}/send"):
    """How many sends the gateway has accepted so far."""
    connection = http.client.HTTPConnection(gateway.api)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    lines = (line for line in text.splitlines() if line.startswith("groupcast_http_requests_total"))
    wanted = [line for line in lines if path in line and '"202"' in line]
    return sum(int(float(line.split()[-1])) for line in wanted)


def local_address():
    """Of the connection that this thread keeps."""
    return GATEWAY.kept.line.http.sock.getsockname()


TAKEN = (202, {"Content-Type": "application/json"}, b'{"id":"x"}')
BUSY = (
    503,
    {"Content-Type": "application/problem+json", "Retry-After": "1"},
    b'{"status":503,"code":"busy","detail":"no room"}',
)


def test_sends_to_groups_users_connections_and_batches(gateway):
    before = accepted(gateway)
    groupcast.send("usuario_7", {"type": "a", "amount": Decimal("1.5")}, on_commit=False)
    assert accepted(gateway) == before + 1
    groupcast.send_user("maría/7", {"type": "a"}, on_commit=False)
    groupcast.send_connection("k3f5a2bq-17", {"type": "a"}, on_commit=False)
    groupcast.send_many([("a", {"type": "x"}), (["a", "b"], {"type": "y"})], on_commit=False)
    groupcast.send_many([], on_commit=False)
    assert groupcast.look(7)["connections"] == []
    groupcast.disconnect(7)


def test_passes_options_to_the_gateway(script):
    server = script(TAKEN)
    groupcast.send(
        "a",
        {"type": "é"},
        key="k-1",
        expiry=timedelta(seconds=1.5),
        exclude=["user:7 x", "k3f5a2bq-17"],
        on_commit=False,
    )
    path, headers, body = server.asked[0]
    assert path == "/groups/a/send?except=user%3A7+x&except=k3f5a2bq-17&expiry_ms=1500"
    assert headers["Idempotency-Key"] == "k-1"
    assert headers["Authorization"].startswith("Bearer ")
    assert body == '{"type":"é"}'.encode()


def test_the_gateway_applies_the_options(gateway):
    before = accepted(gateway)
    options = {"expiry": 30, "exclude": ["user:7", "k3f5a2bq-17"], "on_commit": False}
    groupcast.send("a", {"type": "x"}, **options)
    assert accepted(gateway) == before + 1


@pytest.mark.parametrize(
    ("group", "event", "status", "words"),
    [
        ("no group", {"type": "x"}, 422, "no group"),
        ("g", {"type": ""}, 422, "type"),
        ("g", {"type": "x", "big": "x" * 70_000}, 413, "bytes"),
    ],
)
def test_a_refusal_raises_the_gateways_error(gateway, group, event, status, words):
    with pytest.raises(groupcast.GroupcastError, match=words) as refused:
        groupcast.send(group, event, on_commit=False)
    assert refused.value.status == status
    assert refused.value.code


def test_one_refused_item_of_a_batch_raises(gateway):
    with pytest.raises(groupcast.GroupcastError) as refused:
        groupcast.send_many([("fine", {"type": "x"}), ("no group", {"type": "x"})], on_commit=False)
    assert (refused.value.status, refused.value.code) == (422, "bad_group")


def test_a_wrong_key_raises(gateway, settings):
    settings.GROUPCAST = gateway.settings(KEY="another site's key")
    with pytest.raises(groupcast.GroupcastError) as refused:
        groupcast.send("g", {"type": "x"}, on_commit=False)
    assert (refused.value.status, refused.value.code) == (401, "key_unknown")


@pytest.mark.parametrize("event", [{}, {"type": 1}, ["type"], "type", None])
def test_a_malformed_event_raises_in_the_caller(event):
    with pytest.raises(TypeError, match="'type'"):
        groupcast.send("g", event)
    with pytest.raises(TypeError, match="'type'"):
        groupcast.send_many([("g", event)])


def test_nan_raises_in_the_caller():
    with pytest.raises(ValueError, match="JSON"):
        groupcast.send("g", {"type": "x", "n": float("nan")})


def test_an_unreachable_gateway_raises_without_a_status(settings):
    with pytest.raises(groupcast.GroupcastError, match="cannot be reached") as refused:
        groupcast.send("g", {"type": "x"}, on_commit=False)
    assert refused.value.status is None


# ===== transactions =====


@pytest.mark.django_db(transaction=True)
def test_sends_after_the_commit_and_not_after_a_rollback(gateway):
    before = accepted(gateway)
    with transaction.atomic():
        event = {"type": "x", "n": 1}
        groupcast.send("g", event)
        event["n"] = {"not JSON"}
        assert accepted(gateway) == before, "not before the commit"
    assert accepted(gateway) == before + 1, "and as it was when sent"
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        groupcast.send("g", {"type": "x"})
        1 / 0  # noqa: B018
    assert accepted(gateway) == before + 1
    groupcast.send("g", {"type": "x"})
    assert accepted(gateway) == before + 2, "outside of a transaction it goes out now"


@pytest.mark.django_db(transaction=True)
def test_a_failure_after_the_commit_is_logged_only(settings, caplog):
    done = []
    with transaction.atomic():
        groupcast.send("g", {"type": "x"})  # nothing listens there
        transaction.on_commit(lambda: done.append(1))
    assert done, "what else waits for the commit is done"
    assert "cannot be reached" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_waits_for_the_transaction_of_a_request(gateway, client):
    before = accepted(gateway)
    assert client.get("/sale", secure=True).status_code == 200
    assert accepted(gateway) == before + 1
    client.raise_request_exception = False
    assert client.get("/sale?fail", secure=True).status_code == 500
    assert accepted(gateway) == before + 1


# ===== connections =====


def test_a_thread_reuses_its_connection(script):
    server = script(*[TAKEN] * 6)
    for _ in range(3):
        groupcast.send("g", {"type": "x"}, on_commit=False)
    assert server.connections == 1

    def work():
        for _ in range(3):
            groupcast.send("g", {"type": "x"}, on_commit=False)
        hang_up()

    other = threading.Thread(target=work)
    other.start()
    other.join()
    assert (server.connections, len(server.asked)) == (2, 6)


def test_many_threads_and_forks_send_in_parallel(gateway):
    """As a worker that forks after it has sent: no process reads another's answer."""
    before = accepted(gateway)
    groupcast.send("g", {"type": "parent"}, on_commit=False)
    parent = local_address()
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for _ in range(25):
                    groupcast.send("g", {"type": "child"}, on_commit=False)
                code = 0 if local_address() != parent else 2
            finally:
                os._exit(code)
        children.append(child)
    errors = []

    def work():
        try:
            for _ in range(25):
                groupcast.send("g", {"type": "thread"}, on_commit=False)
        except groupcast.GroupcastError as error:
            errors.append(error)
        finally:
            hang_up()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert not errors
    groupcast.send("g", {"type": "parent"}, on_commit=False)
    assert local_address() == parent, "the parent's is as it was"
    assert accepted(gateway) == before + 202


def test_replaces_a_connection_closed_while_idle_once(script):
    server = script(TAKEN, (None, {}, b""), TAKEN)
    groupcast.send("g", {"type": "x"}, on_commit=False)
    groupcast.send("g", {"type": "y"}, on_commit=False)
    assert server.connections == 2
    assert server.keys == [None] * 3, "a key costs memory, and was not asked for"
    bodies = [json.loads(body)["type"] for _, _, body in server.asked]
    assert bodies == ["x", "y", "y"]


def test_a_new_connection_that_breaks_raises(script):
    server = script((None, {}, b""))
    with pytest.raises(groupcast.GroupcastError, match="cannot be reached"):
        groupcast.send("g", {"type": "x"}, on_commit=False)
    assert len(server.asked) == 1


def test_reconnects_to_a_restarted_gateway(tmp_path, settings):
    first = Gateway(tmp_path)
    settings.GROUPCAST = first.settings()
    groupcast.send("g", {"type": "x"}, on_commit=False)
    first.end()
    with pytest.raises(groupcast.GroupcastError, match="cannot be reached"):
        groupcast.send("g", {"type": "x"}, on_commit=False)
    again = Gateway(tmp_path, api=first.api, key=first.key)
    groupcast.send("g", {"type": "x"}, on_commit=False)
    again.end()


def test_retries_a_busy_gateway_with_the_same_key(script):
    server = script(BUSY, TAKEN)
    began = time.monotonic()
    groupcast.send("g", {"type": "x"}, on_commit=False, key="k-1")
    assert 1 <= time.monotonic() - began < 3
    assert server.keys == ["k-1", "k-1"]


def half_accepted():
    """The answer to a batch of which only "b" of the first publication was accepted."""
    refused = {"problem": {"status": 503, "detail": "no room"}}
    outcomes = [(0, "a", refused), (0, "b", {"id": "x"}), (1, "c", refused)]
    results = [{"publication": at, "group": group, **what} for at, group, what in outcomes]
    return 207, {"Content-Type": "application/json"}, json.dumps({"results": results}).encode()


def test_retries_the_rest_of_a_batch_without_a_key(script):
    server = script(half_accepted(), TAKEN)
    batch = [(["a", "b"], {"type": "é"}), ("c", {"type": "y"})]
    groupcast.send_many(batch, on_commit=False)
    assert server.keys == [None, None]
    assert json.loads(server.asked[1][2]) == {
        "publications": [
            {"groups": ["a"], "event": {"type": "é"}},
            {"groups": ["c"], "event": {"type": "y"}},
        ]
    }


def test_retries_a_whole_batch_with_its_key(script):
    server = script(half_accepted(), TAKEN)
    batch = [(["a", "b"], {"type": "x"}), ("c", {"type": "y"})]
    groupcast.send_many(batch, on_commit=False, key="k-1")
    assert server.keys == ["k-1", "k-1"]
    assert server.asked[0][2] == server.asked[1][2]


def test_stops_retrying_after_the_timeout(script):
    server = script(*[BUSY] * 9)
    began = time.monotonic()
    with pytest.raises(groupcast.GroupcastError, match="no room") as refused:
        groupcast.send("g", {"type": "x"}, on_commit=False)
    assert refused.value.status == 503
    assert time.monotonic() - began < 3.5
    assert 2 <= len(server.asked) <= 4


def test_stops_waiting_for_an_answer_after_the_timeout(settings):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        settings.GROUPCAST = {**settings.GROUPCAST, "API": address, "TIMEOUT": 0.3}
        began = time.monotonic()
        with pytest.raises(groupcast.GroupcastError, match="timed out"):
            groupcast.send("g", {"type": "x"}, on_commit=False)
        assert time.monotonic() - began < 2


def test_an_error_page_of_a_proxy_raises(script):
    script((502, {"Content-Type": "text/html"}, b"<h1>Bad Gateway</h1>"))
    with pytest.raises(groupcast.GroupcastError, match="answered 502"):
        groupcast.send("g", {"type": "x"}, on_commit=False)


def test_an_interrupted_send_discards_its_connection(script, monkeypatch):
    """As Celery's time limit does: an answer that comes later is not read."""
    server = script(TAKEN, TAKEN)
    read = http.client.HTTPResponse.read

    def interrupted(self, *_):
        raise KeyboardInterrupt

    monkeypatch.setattr(http.client.HTTPResponse, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        groupcast.send("g", {"type": "x"}, on_commit=False)
    monkeypatch.setattr(http.client.HTTPResponse, "read", read)
    groupcast.send("g", {"type": "x"}, on_commit=False)
    assert server.connections == 2


def test_a_missing_key_is_reported_as_a_settings_error(settings):
    from django.core.exceptions import ImproperlyConfigured

    settings.GROUPCAST = {"SECRET": "s" * 32}
    with pytest.raises(ImproperlyConfigured, match="no KEY"):
        groupcast.send("g", {"type": "x"}, on_commit=False)
