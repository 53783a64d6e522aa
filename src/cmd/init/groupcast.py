"""Groupcast for Django: who may connect, what browsers may ask, and events from Python to browsers.

Written by `groupcast init django`, which also renews it (`--force`): keep your own code elsewhere.
It needs Django 4.2 or newer, and nothing else.

    # settings.py
    GROUPCAST = {
        "API": "http://127.0.0.1:8081",                    # the gateway's listen.api
        "KEY": os.environ["GROUPCAST_API_SECRET"],         # the secret of an [[api.key]]
        "SECRET": os.environ["GROUPCAST_BACKEND_SECRET"],  # that of the [[backend.key]] "1"
    }

    # urls.py; importing your handlers registers them
    from shop import realtime
    urlpatterns = [..., path("groupcast/", include("groupcast"))]

    # shop/realtime.py
    @groupcast.connect
    def groups(request):
        return [f"seller_{request.user.pk}"] if request.user.is_staff else []

    @groupcast.call("mark_read")
    def mark_read(request, data):
        request.user.notices.filter(pk=data["id"]).update(read=True)

    # anywhere: views, signals, Celery tasks, management commands
    groupcast.send("usuario_7", {"type": "image_ready", "id": 42})
"""

from __future__ import annotations

import hmac
import json
import logging
import os
import threading
import time
import uuid
from datetime import timedelta
from functools import partial, wraps
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Callable, Dict, Iterable, Iterator, NamedTuple, Sequence
from urllib.parse import quote, unquote, urlencode, urlsplit

from asgiref.local import Local
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.core.exceptions import ImproperlyConfigured, PermissionDenied, ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.core.signals import request_finished
from django.db import connections, transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.utils.crypto import salted_hmac
from django.utils.encoding import escape_uri_path
from django.utils.functional import SimpleLazyObject
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

Event = Dict[str, Any]
Handler = Callable[..., Any]

DEFAULTS: dict[str, Any] = {
    "API": "http://127.0.0.1:8081",  # where the gateway takes events
    "KEY": "",  # the secret of an API key of the gateway
    "SECRET": "",  # what the gateway signs with: its key with the id "1"
    "KEYS": {},  # further such secrets by their id, for a change of keys
    "TIMEOUT": 5.0,  # seconds that one send may take, retries included
}
SIGNATURE_WINDOW = 300  # seconds that a signature is good for: clocks differ, requests wait
MIN_SECRET = 32  # bytes of the shortest signing secret: as many as SHA-256 gives


def _setting(name: str) -> Any:
    given = getattr(settings, "GROUPCAST", None)
    if not isinstance(given, dict):
        raise ImproperlyConfigured("settings.GROUPCAST is no dict; groupcast.py shows what it says")
    if unknown := sorted(set(given) - set(DEFAULTS)):
        known = ", ".join(DEFAULTS)
        raise ImproperlyConfigured(f"settings.GROUPCAST has {unknown[0]!r}; it can have {known}")
    value = given.get(name, DEFAULTS[name])
    if name == "KEY" and not value:
        raise ImproperlyConfigured("settings.GROUPCAST has no KEY, the secret of an [[api.key]]")
    return value


def _secrets() -> dict[str, bytes]:
    """The signing secrets by key id."""
    named = {"1": _setting("SECRET"), **_setting("KEYS")}
    secrets = {kid: str(secret).encode() for kid, secret in named.items() if secret}
    if not secrets:
        raise ImproperlyConfigured("settings.GROUPCAST has no SECRET, that of a [[backend.key]]")
    for kid, secret in secrets.items():
        if len(secret) < MIN_SECRET:
            found = f"the secret of key {kid!r} has {len(secret)} bytes; {MIN_SECRET} are needed"
            raise ImproperlyConfigured(f"settings.GROUPCAST: {found}")
    return secrets


# ===== what the gateway asks =====


class Connection(NamedTuple):
    """`request.groupcast`: the WebSocket that a request is about."""

    path: str  # of the WebSocket, as the browser asked for it; the rest is known in calls only
    id: str = ""  # good for `send_connection`, and for `exclude`
    channel: str = ""  # for `channel_layer.send`, where the gateway receives Django's channels
    sub: str = ""
    claims: dict[str, Any] | None = None
    session: str | None = None
    idempotency_key: str | None = None  # the browser's: the same key is the same wish


class Answer(NamedTuple):
    """What a call answers, where a bare result will not do."""

    result: Any = None
    join: Sequence[str] = ()
    leave: Sequence[str] = ()
    close: int | None = None  # a close code, such as 4403


_connect: list[Handler] = []
_calls: dict[str, tuple[Handler, bool]] = {}


def connect(handler: Handler) -> Handler:
    """Registers what decides about a new connection: `handler(request)`.

    `request.user` is whoever the browser's cookie says, `request.GET` has the route's parameters.
    The answer: None (users may connect, others not), a list of groups to join besides, a dict of
    what the gateway is told (sub, groups, claims, expires_in, welcome), or an HttpResponse, of
    which 401 and 403 refuse. PermissionDenied refuses, too. A dict with a `sub` admits whoever is
    not logged in; it must not look like a user's primary key. It may depend on path, host and
    cookies only, by which the gateway keeps it for a while.
    """
    _connect[:] = [handler]
    return handler


def call(name: str, *, login: bool = True) -> Callable[[Handler], Handler]:
    """Registers what a browser can ask for by this name: `handler(request, data)`.

    `request.user` is the connection's user; unless `login` is False, there is one, and active. What
    is returned goes to the browser; None is no result, an `Answer` can change memberships too.
    PermissionDenied, Http404 and ValidationError refuse, with their words for the browser.
    """

    def register(handler: Handler) -> Handler:
        _calls[name] = (handler, login)
        return handler

    return register


def sign(method: str, target: str, body: bytes = b"", ws_path: str = "", **given: Any) -> str:
    """The `Groupcast-Signature` that the gateway gives a request, for tests of your handlers.

    `target` is path and query as sent, `ws_path` the header `Groupcast-Path`; `kid` names another
    key than the first, `at` another second than now.
    """
    secrets = _secrets()
    kid, at = given.get("kid", next(iter(secrets))), given.get("at", int(time.time()))
    signed = "\n".join((str(at), method, target, ws_path, "")).encode() + body
    return f"t={at},kid={kid},v1={hmac.new(secrets[kid], signed, 'sha256').hexdigest()}"


def _is_signed(request: HttpRequest) -> bool:
    """Whether the gateway made this request, lately."""
    given = request.headers.get("Groupcast-Signature", "")
    parts = dict(part.partition("=")[::2] for part in given.split(","))
    at, kid = parts.get("t", ""), parts.get("kid", "")
    if not (at.isascii() and at.isdigit() and len(at) < 13) or kid not in _secrets():
        return False
    # The target as sent, where the server tells (gunicorn, uWSGI): Django knows it decoded.
    query = request.META.get("QUERY_STRING", "")
    rebuilt = escape_uri_path(request.path) + (f"?{query}" if query else "")
    target = request.META.get("RAW_URI") or request.META.get("REQUEST_URI") or rebuilt
    ws_path = request.headers.get("Groupcast-Path", "")
    expected = sign(request.method, target, request.body, ws_path, kid=kid, at=int(at))
    is_fresh = abs(time.time() - int(at)) <= SIGNATURE_WINDOW
    return hmac.compare_digest(given.encode(), expected.encode()) and is_fresh


def _refuse(status: int, code: str, message: str) -> HttpResponse:
    # A refusal is no exception any more, so the request's transaction would be committed.
    for database in connections.all():
        if database.settings_dict["ATOMIC_REQUESTS"] and database.in_atomic_block:
            database.set_rollback(True)
    return JsonResponse({"code": code, "message": message}, status=status)


def _for_gateway(view: Handler) -> Handler:
    """Only signed requests reach the view; what it raises to refuse becomes an answer."""

    @csrf_exempt
    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponse:
        if not _is_signed(request):
            return _refuse(401, "bad_signature", "the signature is missing, wrong or too old")
        try:
            return view(request)
        except PermissionDenied as error:
            return _refuse(403, "forbidden", str(error) or "not allowed")
        except Http404 as error:
            return _refuse(404, "not_found", str(error) or "not found")
        except ValidationError as error:
            return _refuse(400, "bad_request", " ".join(error.messages))

    return guarded


@_for_gateway
@require_GET
def connect_view(request: HttpRequest) -> HttpResponse:
    """Answers who connects, and which groups are theirs."""
    # One answer may serve many tabs, so it is about a path and not about a connection.
    request.groupcast = Connection(request.headers.get("Groupcast-Path", ""))
    answer: dict[str, Any] = {"groups": []}
    if request.user.is_authenticated:
        answer.update(sub=str(request.user.pk), session=_session_name(request))
    if not _connect and request.GET:  # a 200 would confirm them, unseen
        raise PermissionDenied("@groupcast.connect must decide about the route's parameters")
    told = _connect[0](request) if _connect else None
    if isinstance(told, HttpResponse):
        return told
    answer.update(told if isinstance(told, dict) else {"groups": list(told or ())})
    if "sub" not in answer:
        return _refuse(401, "unauthorized", "nobody is logged in")
    return JsonResponse({name: value for name, value in answer.items() if value is not None})


@_for_gateway
@require_POST
def call_view(request: HttpRequest) -> HttpResponse:
    """Answers a call with what is registered by its name."""
    asked = json.loads(request.body)
    rest = (asked.get(name) for name in ("sub", "claims", "session"))
    request.groupcast = Connection(
        asked["path"],
        asked["connection"],
        asked.get("channel") or "",
        *rest,
        idempotency_key=request.headers.get("Idempotency-Key"),
    )
    request.user = SimpleLazyObject(partial(_user, asked["sub"]))
    handler, login = _calls.get(asked["call"], (None, False))
    if handler is None:
        raise Http404("no such call")
    if login and not request.user.is_authenticated:
        raise PermissionDenied("the user is not there any more, or not active")
    told = handler(request, asked.get("data"))
    if isinstance(told, HttpResponse):
        return told
    answer = (told if isinstance(told, Answer) else Answer(told))._asdict()
    answer = {name: value for name, value in answer.items() if value is not None and value != ()}
    return JsonResponse(answer) if answer else HttpResponse(status=204)


def _user(sub: str) -> Any:
    """The active user with this primary key, else an AnonymousUser."""
    from django.contrib.auth.models import AnonymousUser  # once the apps are loaded, not before

    try:
        user = get_user_model()._default_manager.filter(pk=sub).first()
    except (ValueError, OverflowError, ValidationError):  # no primary key looks like this
        user = None
    return user if user is not None and user.is_active else AnonymousUser()


def _session_name(request: HttpRequest) -> str | None:
    # Not the key itself: who has that is logged in.
    key = getattr(getattr(request, "session", None), "session_key", None)
    return salted_hmac("groupcast.session", key, algorithm="sha256").hexdigest() if key else None


urlpatterns = [path("connect", connect_view), path("call", call_view)]

# ===== what Django tells =====


class GroupcastError(Exception):
    """The gateway did not take it. `status` is None where it could not be reached at all."""

    def __init__(self, detail: str, status: int | None = None, code: str = "") -> None:
        super().__init__(detail)
        self.detail, self.status, self.code = detail, status, code


def send(
    group: str,
    event: Event,
    *,
    on_commit: bool = True,
    using: str | None = None,
    key: str | None = None,
    expiry: float | timedelta | None = None,
    exclude: Sequence[str] = (),
    _to: str = "groups",
) -> None:
    """Sends an event, a dict with a string `type`, to everybody in a group.

    Inside a transaction (of the database `using`) it goes out once that is committed, and then a
    failure is logged, since nothing can be undone any more. Outside, or with `on_commit=False`, it
    goes out now, and raises GroupcastError. The same `key` again within two minutes sends nothing.
    After `expiry`, in seconds, it is not delivered any more. `exclude` has connection ids, or
    "user:<sub>", that do not get it.
    """
    query: list[tuple[str, Any]] = [("except", name) for name in exclude]
    if expiry is not None:
        seconds = expiry.total_seconds() if isinstance(expiry, timedelta) else expiry
        query.append(("expiry_ms", round(seconds * 1000)))
    target = f"/{_to}/{quote(group, safe='')}/send" + (f"?{urlencode(query)}" if query else "")
    _post(target, _checked(event), key, on_commit, using)


def send_user(user: Any, event: Event, **options: Any) -> None:
    """Sends an event to all connections of a user (or of a `sub`); options as in `send`."""
    send(_sub(user), event, _to="users", **options)


def send_connection(connection: str, event: Event, **options: Any) -> None:
    """Sends an event to one connection, such as `request.groupcast.id`; options as in `send`."""
    send(connection, event, _to="connections", **options)


def send_many(
    publications: Iterable[tuple[str | Sequence[str], Event]],
    *,
    on_commit: bool = True,
    using: str | None = None,
    key: str | None = None,
) -> None:
    """Sends up to 1000 events in one request, in order: pairs of a group, or several, and an event.

    Each stands alone: after an error, those that it is not about may have been sent.
    """
    pairs = [([to] if isinstance(to, str) else list(to), event) for to, event in publications]
    batch = [{"groups": groups, "event": _checked(event)} for groups, event in pairs]
    if batch:
        _post("/batch", {"publications": batch}, key, on_commit, using)


def disconnect(user: Any, code: int = 4401, *, session: str | None = None) -> None:
    """Closes the connections of a user (or of a `sub`), everywhere, all or those of one session:
    after a change of password, or of what the user may see. With 4503 clients come back by
    themselves, and it is asked anew who they are; with 4401, 4403 and 4409 they stay away.
    """
    query = urlencode({"code": code, **({"session": session} if session else {})})
    _request("POST", f"/users/{quote(_sub(user), safe='')}/close?{query}")


def look(user: Any) -> dict[str, Any]:
    """What the instance that answers knows of a user: connections, their groups, what they missed."""
    return _request("GET", f"/users/{quote(_sub(user), safe='')}")


def _sub(user: Any) -> str:
    return str(getattr(user, "pk", user))


def _checked(event: Event) -> Event:
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise TypeError(f"an event is a dict with a string 'type', not {event!r:.80}")
    return event


def _post(target: str, content: Any, key: str | None, on_commit: bool, using: str | None) -> None:
    # Written down now: what the caller does with it before the commit is another story.
    encode = partial(json.dumps, cls=DjangoJSONEncoder, separators=(",", ":"), allow_nan=False)
    body = encode(content, ensure_ascii=False).encode()
    # Everything sent has a key, so that trying again never delivers twice.
    key = key or uuid.uuid4().hex

    def publish() -> None:
        _request("POST", target, body, key)

    waits = on_commit and (_recording is None or _recording.on_commit)
    if waits and transaction.get_connection(using).in_atomic_block:
        transaction.on_commit(publish, using=using, robust=True)
    else:
        publish()


def _request(method: str, target: str, body: bytes = b"", key: str = "") -> dict[str, Any]:
    """Asks the gateway, again where it says that it will have room, within the time allowed."""
    if _recording is not None:
        return _recording.take(target, body)
    deadline = time.monotonic() + _setting("TIMEOUT")
    while True:
        status, pause, answer = _exchange(method, target, body, key, deadline)
        problems = [each["problem"] for each in answer.get("results", ()) if "problem" in each]
        if status < 300 and not problems:
            return answer
        problem = problems[0] if problems else answer
        status = problem.get("status", status)
        if status != 503 or time.monotonic() + pause >= deadline:
            detail = problem.get("detail", f"the gateway answered {status}")
            raise GroupcastError(detail, status, problem.get("code", ""))
        time.sleep(pause)


_kept = threading.local()  # the HTTP connection that a thread keeps open, and whose it is


def _exchange(
    method: str, target: str, body: bytes, key: str, deadline: float
) -> tuple[int, int, dict[str, Any]]:
    """One request and its answer: status, seconds to wait before another, JSON."""
    url = _setting("API")
    headers = {"Authorization": f"Bearer {_setting('KEY')}", "Content-Type": "application/json"}
    headers.update({"Idempotency-Key": key} if key else {})
    scheme, address, prefix = urlsplit(url)[:3]
    # A forked worker finds its parent's connection, socket included, and must leave it alone.
    owner, http = getattr(_kept, "line", (None, None))
    if owner != (os.getpid(), url):
        if http is not None:
            http.close()  # this process's copy of it
        http = (HTTPSConnection if scheme == "https" else HTTPConnection)(address)
        _kept.line = ((os.getpid(), url), http)
    is_rested = http.sock is not None
    try:
        http.timeout = max(deadline - time.monotonic(), 0.001)
        if is_rested:
            http.sock.settimeout(http.timeout)
        http.request(method, prefix.rstrip("/") + target, body, headers)
        response = http.getresponse()
        content = response.read()
    except (OSError, HTTPException) as error:
        http.close()
        # One that rested may have been closed at the other end, which is no failure.
        if is_rested and time.monotonic() < deadline:
            return _exchange(method, target, body, key, deadline)
        raise GroupcastError(f"the gateway at {url} cannot be reached: {error!r}") from error
    except BaseException:  # Celery's time limit, gevent's Timeout: the answer is still to come
        http.close()
        raise
    is_json = content and "json" in response.headers.get_content_subtype()
    pause = response.headers.get("Retry-After", "")
    pause = int(pause) if pause.isdigit() else 1
    return response.status, pause, json.loads(content) if is_json else {}


# ===== logging out =====

_leaving = Local()


def close_on_logout(sender: Any, request: HttpRequest, user: Any, **_: Any) -> None:
    """Closes the connections of the session that ends, as soon as the answer is on its way."""
    session = _session_name(request)
    if user is not None and session is not None:
        _leaving.sessions = [*getattr(_leaving, "sessions", ()), (_sub(user), session)]


def _close_the_leaving(sender: Any, **_: Any) -> None:
    # Not at once: until the answer is sent, the session is there and the browser has its cookie.
    sessions, _leaving.sessions = getattr(_leaving, "sessions", ()), ()
    for sub, session in sessions:
        try:
            disconnect(sub, session=session)
        except GroupcastError:
            logging.getLogger("groupcast").exception("user %s logged out, but is connected", sub)


user_logged_out.connect(close_on_logout, dispatch_uid="groupcast")
request_finished.connect(_close_the_leaving, dispatch_uid="groupcast")

# ===== tests =====


class RecordingLayer:
    """Stands in for the gateway in tests: nothing is sent, everything is kept.

    `sent` has (kind, name, event as browsers get it), kind being groups, users or connections;
    `disconnected` has subs. Events count at once, since the transaction around a test never ends;
    with `on_commit=True` they wait for it, as in production.
    """

    def __init__(self, *, on_commit: bool = False) -> None:
        self.on_commit = on_commit
        self.sent: list[tuple[str, str, Event]] = []
        self.disconnected: list[str] = []

    def to_group(self, group: str) -> list[Event]:
        """The events sent to a group."""
        return [event for *to, event in self.sent if to == ["groups", group]]

    def to_user(self, user: Any) -> list[Event]:
        """The events sent to a user (or a `sub`)."""
        return [event for *to, event in self.sent if to == ["users", _sub(user)]]

    def take(self, target: str, body: bytes) -> dict[str, Any]:
        """What would be asked of the gateway."""
        kind, *rest = urlsplit(target).path[1:].split("/")
        content = json.loads(body) if body else {}
        for each in content.get("publications", ()) if kind == "batch" else ():
            self.sent += [("groups", name, each["event"]) for name in each["groups"]]
        if rest[-1:] == ["send"]:
            self.sent.append((kind, unquote(rest[0]), content))
        elif rest[-1:] == ["close"]:
            self.disconnected.append(unquote(rest[0]))
        return {"connections": []}

    def __enter__(self) -> RecordingLayer:  # noqa: PYI034  Self is Python 3.11's
        global _recording
        self._before, _recording = _recording, self
        return self

    def __exit__(self, *_: object) -> None:
        global _recording
        _recording = self._before


_recording: RecordingLayer | None = None


class GroupcastTestMixin:
    """For a TestCase: `self.groupcast` records what the test sends."""

    def setUp(self) -> None:
        self.groupcast = RecordingLayer().__enter__()
        self.addCleanup(self.groupcast.__exit__)
        super().setUp()


def __getattr__(name: str) -> Any:
    """`from groupcast import groupcast_sent` in conftest.py: a fixture, where there is pytest."""
    if name != "groupcast_sent":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pytest

    @pytest.fixture
    def groupcast_sent() -> Iterator[RecordingLayer]:
        with RecordingLayer() as layer:
            yield layer

    return groupcast_sent
