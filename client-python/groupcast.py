"""Groupcast for Django: who may connect, what browsers may call, and events to browsers.

Written by `groupcast init django`, and updated by it with `--force`: keep your own code elsewhere.
It needs Django 4.2 or newer and nothing else.

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
    groupcast.send("user_7", {"type": "image_ready", "id": 42})
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
    "API": "http://127.0.0.1:8081",  # the gateway's listen.api
    "KEY": "",  # the secret of an API key of the gateway
    "SECRET": "",  # the secret of its signing key with the id "1"
    "KEYS": {},  # further signing secrets by key id, for a change of keys
    "TIMEOUT": 5.0,  # seconds that one send may take, retries included
}
SIGNATURE_WINDOW = 300  # seconds for which a signature is valid: clocks differ, requests wait
MIN_SECRET = 32  # bytes of the shortest signing secret: as many as SHA-256 gives


def _setting(name: str) -> Any:
    given = getattr(settings, "GROUPCAST", None)
    if not isinstance(given, dict):
        raise ImproperlyConfigured("settings.GROUPCAST must be a dict; groupcast.py shows its keys")
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


# ===== requests from the gateway =====


class Connection(NamedTuple):
    """`request.groupcast`: the WebSocket that a request is about."""

    path: str  # of the WebSocket, as requested; the other members are set in calls only
    id: str = ""  # for `send_connection` and `exclude`
    channel: str = ""  # for `channel_layer.send`, where the gateway receives Django's channels
    sub: str = ""
    claims: dict[str, Any] | None = None
    session: str | None = None
    idempotency_key: str | None = None  # chosen by the browser: the same key is the same call


class Answer(NamedTuple):
    """The answer to a call that also changes memberships, or closes the connection."""

    result: Any = None
    join: Sequence[str] = ()
    leave: Sequence[str] = ()
    close: int | None = None  # a close code, such as 4403


_connect: list[Handler] = []
_calls: dict[str, tuple[Handler, bool]] = {}


def connect(handler: Handler) -> Handler:
    """Registers the function that decides about new connections: `handler(request)`.

    `request.user` is the user of the browser's session, `request.GET` has the route's parameters.
    It returns None (logged-in users may connect, others not), a list of further groups to join, a
    dict (sub, groups, claims, expires_in, welcome), or an HttpResponse, of which 401 and 403
    refuse. PermissionDenied refuses, too. A dict with a `sub` admits visitors who are not logged
    in; it must not look like a user's primary key. The answer may depend on path, host and cookies
    only: the gateway caches it by these.
    """
    _connect[:] = [handler]
    return handler


def call(name: str, *, login: bool = True) -> Callable[[Handler], Handler]:
    """Registers a function that browsers can call by this name: `handler(request, data)`.

    `request.user` is the connection's user; unless `login` is False, an active user is required.
    The returned value goes to the browser as the result, None as no result; an `Answer` can also
    change memberships. PermissionDenied, Http404 and ValidationError refuse; the browser gets their
    message.
    """

    def register(handler: Handler) -> Handler:
        _calls[name] = (handler, login)
        return handler

    return register


def sign(method: str, target: str, body: bytes = b"", ws_path: str = "", **given: Any) -> str:
    """The `Groupcast-Signature` of a request, for tests of your handlers.

    `target` is path and query as sent, `ws_path` the header `Groupcast-Path`. `kid` selects another
    key than the first, `at` another time than now, in seconds since 1970.
    """
    secrets = _secrets()
    kid, at = given.get("kid", next(iter(secrets))), given.get("at", int(time.time()))
    signed = "\n".join((str(at), method, target, ws_path, "")).encode() + body
    return f"t={at},kid={kid},v1={hmac.new(secrets[kid], signed, 'sha256').hexdigest()}"


def _is_signed(request: HttpRequest) -> bool:
    """Whether the gateway signed this request, within the window."""
    given = request.headers.get("Groupcast-Signature", "")
    parts = dict(part.partition("=")[::2] for part in given.split(","))
    at, kid = parts.get("t", ""), parts.get("kid", "")
    if not (at.isascii() and at.isdigit() and len(at) < 13) or kid not in _secrets():
        return False
    # The target as sent, where the server has it (gunicorn, uWSGI): Django has it decoded.
    query = request.META.get("QUERY_STRING", "")
    rebuilt = escape_uri_path(request.path) + (f"?{query}" if query else "")
    target = request.META.get("RAW_URI") or request.META.get("REQUEST_URI") or rebuilt
    ws_path = request.headers.get("Groupcast-Path", "")
    expected = sign(request.method, target, request.body, ws_path, kid=kid, at=int(at))
    is_fresh = abs(time.time() - int(at)) <= SIGNATURE_WINDOW
    return hmac.compare_digest(given.encode(), expected.encode()) and is_fresh


def _refuse(status: int, code: str, message: str) -> HttpResponse:
    # The exception has become an answer, so the request's transaction would be committed.
    for database in connections.all():
        if database.settings_dict["ATOMIC_REQUESTS"] and database.in_atomic_block:
            database.set_rollback(True)
    return JsonResponse({"code": code, "message": message}, status=status)


def _for_gateway(view: Handler) -> Handler:
    """Only signed requests reach the view; exceptions that refuse become answers."""

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
    """Answers who is connecting, and which groups they join."""
    # One answer may serve many tabs, so only the path is known here, no connection.
    request.groupcast = Connection(request.headers.get("Groupcast-Path", ""))
    answer: dict[str, Any] = {"groups": []}
    if request.user.is_authenticated:
        answer.update(sub=str(request.user.pk), session=_session_name(request))
    if not _connect and request.GET:  # a 200 would confirm them unchecked
        raise PermissionDenied("@groupcast.connect must decide about the route's parameters")
    returned = _connect[0](request) if _connect else None
    if isinstance(returned, HttpResponse):
        # Without a code the gateway takes these for a proxy's or a middleware's.
        code = {401: "unauthorized", 403: "forbidden"}.get(returned.status_code)
        return _refuse(returned.status_code, code, "refused") if code else returned
    answer.update(returned if isinstance(returned, dict) else {"groups": list(returned or ())})
    if "sub" not in answer:
        return _refuse(401, "unauthorized", "nobody is logged in")
    return JsonResponse({name: value for name, value in answer.items() if value is not None})


@_for_gateway
@require_POST
def call_view(request: HttpRequest) -> HttpResponse:
    """Runs the function that is registered for a call."""
    body = json.loads(request.body)
    rest = (body.get(name) for name in ("sub", "claims", "session"))
    request.groupcast = Connection(
        body["path"],
        body["connection"],
        body.get("channel") or "",
        *rest,
        idempotency_key=request.headers.get("Idempotency-Key"),
    )
    request.user = SimpleLazyObject(partial(_user, body["sub"]))
    handler, login = _calls.get(body["call"], (None, False))
    if handler is None:
        refusal = {"code": "not_found", "message": "no such call", "unregistered": True}
        return JsonResponse(refusal, status=404)
    if login and not request.user.is_authenticated:
        raise PermissionDenied("the user no longer exists, or is not active")
    returned = handler(request, body.get("data"))
    if isinstance(returned, HttpResponse):
        return returned
    answer = (returned if isinstance(returned, Answer) else Answer(returned))._asdict()
    answer = {name: value for name, value in answer.items() if value is not None and value != ()}
    return JsonResponse(answer) if answer else HttpResponse(status=204)


def _user(sub: str) -> Any:
    """The active user with this primary key, or an AnonymousUser."""
    from django.contrib.auth.models import AnonymousUser  # once the apps are loaded, not before

    try:
        user = get_user_model()._default_manager.filter(pk=sub).first()
    except (ValueError, OverflowError, ValidationError):  # not a value of the primary key's type
        user = None
    return user if user is not None and user.is_active else AnonymousUser()


def _session_name(request: HttpRequest) -> str | None:
    # A digest of the key: the key itself would log anyone in.
    key = getattr(getattr(request, "session", None), "session_key", None)
    return salted_hmac("groupcast.session", key, algorithm="sha256").hexdigest() if key else None


urlpatterns = [path("connect", connect_view), path("call", call_view)]

# ===== requests to the gateway =====


class GroupcastError(Exception):
    """The gateway refused a request. `status` is None if it could not be reached."""

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
    """Sends an event, a dict with a string `type`, to all members of a group.

    Inside a transaction (of the database `using`) it is sent after the commit, and a failure is
    logged, since nothing can be undone by then. Outside, or with `on_commit=False`, it is sent at
    once, and a failure raises GroupcastError. A repeated `key` sends nothing for two minutes. After
    `expiry`, in seconds, the event is no longer delivered. Connections in `exclude`, by id or as
    "user:<sub>", do not get it.
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

    Each succeeds or fails independently: after an error, the others may have been sent.
    """
    pairs = [([to] if isinstance(to, str) else list(to), event) for to, event in publications]
    batch = [{"groups": groups, "event": _checked(event)} for groups, event in pairs]
    if batch:
        _post("/batch", {"publications": batch}, key, on_commit, using)


def disconnect(user: Any, code: int = 4401, *, session: str | None = None) -> None:
    """Closes a user's (or `sub`'s) connections on all instances, or those of one session.

    Call it after a change of password, or of what the user may see. With 4503 clients reconnect,
    and the connect hook is asked again; with 4401, 4403 and 4409 they do not.
    """
    query = urlencode({"code": code, **({"session": session} if session else {})})
    _request("POST", f"/users/{quote(_sub(user), safe='')}/close?{query}")


def look(user: Any) -> dict[str, Any]:
    """A user's connections, their groups and drops, as known to the instance that answers."""
    return _request("GET", f"/users/{quote(_sub(user), safe='')}")


def _sub(user: Any) -> str:
    return str(getattr(user, "pk", user))


def _checked(event: Event) -> Event:
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise TypeError(f"an event is a dict with a string 'type', not {event!r:.80}")
    return event


def _post(target: str, content: Any, key: str | None, on_commit: bool, using: str | None) -> None:
    # Encoded now: the caller may change the event before the commit.
    encode = partial(json.dumps, cls=DjangoJSONEncoder, separators=(",", ":"), allow_nan=False)
    body = encode(content, ensure_ascii=False).encode()
    # Everything sent has a key, so that a retry never delivers twice.
    key = key or uuid.uuid4().hex

    def publish() -> None:
        _request("POST", target, body, key)

    waits = on_commit and (_recording is None or _recording.on_commit)
    if waits and transaction.get_connection(using).in_atomic_block:
        transaction.on_commit(publish, using=using, robust=True)
    else:
        publish()


def _request(method: str, target: str, body: bytes = b"", key: str = "") -> dict[str, Any]:
    """Sends a request to the gateway; repeats it after a 503, within TIMEOUT."""
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


_kept = threading.local()  # per thread: the open HTTP connection, and its owner


def _exchange(
    method: str, target: str, body: bytes, key: str, deadline: float
) -> tuple[int, int, dict[str, Any]]:
    """One request and its answer: status, seconds to wait before another, JSON."""
    url = _setting("API")
    headers = {"Authorization": f"Bearer {_setting('KEY')}", "Content-Type": "application/json"}
    headers.update({"Idempotency-Key": key} if key else {})
    scheme, address, prefix = urlsplit(url)[:3]
    # A forked worker inherits its parent's connection and socket, and must not use them.
    owner, http = getattr(_kept, "line", (None, None))
    if owner != (os.getpid(), url):
        if http is not None:
            http.close()  # this process's copy
        http = (HTTPSConnection if scheme == "https" else HTTPConnection)(address)
        _kept.line = ((os.getpid(), url), http)
    is_reused = http.sock is not None
    try:
        http.timeout = max(deadline - time.monotonic(), 0.001)
        if is_reused:
            http.sock.settimeout(http.timeout)
        http.request(method, prefix.rstrip("/") + target, body, headers)
        response = http.getresponse()
        content = response.read()
    except (OSError, HTTPException) as error:
        http.close()
        # The gateway may have closed an idle connection, which is no failure.
        if is_reused and time.monotonic() < deadline:
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

_logged_out = Local()


def close_on_logout(sender: Any, request: HttpRequest, user: Any, **_: Any) -> None:
    """Closes the connections of the ended session, once the response is sent."""
    session = _session_name(request)
    if user is not None and session is not None:
        _logged_out.sessions = [*getattr(_logged_out, "sessions", ()), (_sub(user), session)]


def _close_logged_out(sender: Any, **_: Any) -> None:
    # Not at once: until the response is sent, the browser has its cookie and could reconnect.
    sessions, _logged_out.sessions = getattr(_logged_out, "sessions", ()), ()
    for sub, session in sessions:
        try:
            disconnect(sub, session=session)
        except GroupcastError:
            logging.getLogger("groupcast").exception("user %s logged out, but is connected", sub)


user_logged_out.connect(close_on_logout, dispatch_uid="groupcast")
request_finished.connect(_close_logged_out, dispatch_uid="groupcast")

# ===== tests =====


class RecordingLayer:
    """Replaces the gateway in tests: nothing is sent, everything is recorded.

    `sent` has (kind, name, event as browsers get it), where kind is groups, users or connections;
    `disconnected` has subs. Events are recorded at once, since the transaction around a test is
    never committed; with `on_commit=True` they wait for a commit, as in production.
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
        """Records one request to the gateway."""
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
    """`from groupcast import groupcast_sent` in conftest.py gives a pytest fixture."""
    if name != "groupcast_sent":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pytest

    @pytest.fixture
    def groupcast_sent() -> Iterator[RecordingLayer]:
        with RecordingLayer() as layer:
            yield layer

    return groupcast_sent
