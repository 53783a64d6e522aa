"""Groupcast for Django: who may connect, what browsers may call, and events to browsers.

Written by `groupcast init django`, and updated by it with `--force`: keep your own code elsewhere.

It needs Django 4.2 or newer; `groupcast.celery` needs Celery alone.

    # settings.py
    INSTALLED_APPS = [..., "groupcast.GroupcastConfig"]
    GROUPCAST = {
        "API": "http://127.0.0.1:8081",                    # the gateway's listen.api
        "KEY": os.environ["GROUPCAST_API_SECRET"],         # the secret of an [[api.key]]
        "SECRET": os.environ["GROUPCAST_BACKEND_SECRET"],  # that of the [[backend.key]] "1"
    }
    # KEY and SECRET may be left out: they are read from these variables, or from groupcast.env in
    # BASE_DIR, which `groupcast init django` writes.

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
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import lru_cache, partial, wraps
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Protocol, TypeVar, TypedDict, Union
from urllib.parse import quote, unquote, urlencode, urlsplit

from asgiref.local import Local
from asgiref.sync import sync_to_async
from django import template
from django.apps import AppConfig
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.core import checks, signing
from django.core.exceptions import ImproperlyConfigured, PermissionDenied, ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.core.signals import request_finished
from django.db import connections, transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, URLResolver, get_resolver, path
from django.utils.crypto import salted_hmac
from django.utils.encoding import escape_uri_path
from django.utils.functional import SimpleLazyObject
from django.utils.html import format_html, format_html_join
from django.utils.module_loading import import_string
from django.utils.safestring import SafeString
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

__all__ = [
    "Answer",
    "Connection",
    "Event",
    "GroupcastConfig",
    "GroupcastError",
    "GroupcastTestMixin",
    "RecordingLayer",
    "adisconnect",
    "afollow",
    "alook",
    "asend",
    "asend_connection",
    "asend_many",
    "asend_user",
    "call",
    "celery",
    "close_on_logout",
    "connect",
    "disconnect",
    "follow",
    "look",
    "send",
    "send_connection",
    "send_many",
    "send_user",
    "sign",
    "task_group",
    "ticket",
    "urlpatterns",
]


# ===== The helper's settings: settings.GROUPCAST, then the environment, then groupcast.env =====

DEFAULTS: dict[str, Any] = {
    "API": "http://127.0.0.1:8081",  # the gateway's listen.api
    "KEY": "",  # the secret of an API key of the gateway
    "SECRET": "",  # the secret of its signing key with the id "1"
    "KEYS": {},  # further signing secrets by key id, for a change of keys
    "TIMEOUT": 5.0,  # seconds that one send may take, retries included
    "ENV_FILE": "",  # of the secrets; by default groupcast.env in BASE_DIR
    "PATH": "/ws/",  # the WebSocket that progress bars open
    "CLIENT": "/client/v1/",  # where browsers load the gateway's client from
    "TASKS": "task.",  # prefix of the group of a Celery task
}
# Where a secret is that settings.GROUPCAST does not have, in the environment or in groupcast.env.
VARIABLES = {"KEY": "GROUPCAST_API_SECRET", "SECRET": "GROUPCAST_BACKEND_SECRET"}
MIN_SECRET = 32  # bytes of the shortest signing secret: as many as SHA-256 gives


def given_settings() -> dict[str, Any]:
    """settings.GROUPCAST; empty if there is none. Raises ImproperlyConfigured."""
    given = getattr(settings, "GROUPCAST", {})
    if not isinstance(given, dict):
        raise ImproperlyConfigured(f"settings.GROUPCAST is {given!r:.80}; it must be a dict")
    if unknown := sorted(set(given) - set(DEFAULTS), key=str):
        known = ", ".join(DEFAULTS)
        raise ImproperlyConfigured(f"settings.GROUPCAST has {unknown[0]!r}; it can have {known}")
    return given


def env_file() -> Path:
    """Where groupcast.env is expected."""
    folder = getattr(settings, "BASE_DIR", ".")
    return Path(given_settings().get("ENV_FILE") or Path(folder) / "groupcast.env")


@lru_cache(maxsize=8)
def read_env_file(path: Path, changed: int) -> dict[str, str]:
    """The variables of a file with lines NAME=value. `changed` is its time, for the cache."""
    variables = {}
    for line in path.read_text("utf-8").splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            variables[name.replace("export ", "", 1).strip()] = value.strip().strip("'\"")
    return variables


def variable(name: str) -> str:
    """A variable of the environment or of groupcast.env; "" where neither has it.

    Raises ImproperlyConfigured for a groupcast.env that exists and cannot be read.
    """
    if name in os.environ:
        return os.environ[name]
    path = env_file()
    try:
        return read_env_file(path, path.stat().st_mtime_ns).get(name, "")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{path} cannot be read: {error}") from error


def setting(name: str) -> Any:
    """One of DEFAULTS, as configured. Raises ImproperlyConfigured, also for an absent KEY."""
    value = given_settings().get(name, DEFAULTS[name])
    if not value and name in VARIABLES:
        value = variable(VARIABLES[name])
    if name == "KEY" and not value:
        missing = f"settings.GROUPCAST has no KEY, and {VARIABLES['KEY']} is set neither in the "
        raise ImproperlyConfigured(f"{missing}environment nor in {env_file()}")
    return value


def signing_secrets() -> dict[str, bytes]:
    """The signing secrets by key id. Raises ImproperlyConfigured if there is none, or a short one.

    The first signs; each is accepted.
    """
    named = {"1": setting("SECRET"), **setting("KEYS")}
    found = {kid: str(secret).encode() for kid, secret in named.items() if secret}
    if not found:
        missing = f"settings.GROUPCAST has no SECRET, and {VARIABLES['SECRET']} is set neither in "
        raise ImproperlyConfigured(f"{missing}the environment nor in {env_file()}")
    for kid, secret in found.items():
        if len(secret) < MIN_SECRET:
            short = f"the secret of key {kid!r} has {len(secret)} bytes; {MIN_SECRET} are needed"
            raise ImproperlyConfigured(f"settings.GROUPCAST: {short}")
    return found


# ===== Signatures of the gateway's requests =====

SIGNATURE_WINDOW = 300  # seconds for which a signature is valid: clocks differ, requests wait


def sign(method: str, target: str, body: bytes = b"", ws_path: str = "", **given: Any) -> str:
    """The `Groupcast-Signature` of a request, for tests of your handlers.

    `target` is path and query as sent, `ws_path` the header `Groupcast-Path`. `kid` selects another
    key than the first, `at` another time than now, in seconds since 1970.
    """
    secrets = signing_secrets()
    kid, at = given.get("kid", next(iter(secrets))), given.get("at", int(time.time()))
    signed = "\n".join((str(at), method, target, ws_path, "")).encode() + body
    return f"t={at},kid={kid},v1={hmac.new(secrets[kid], signed, 'sha256').hexdigest()}"


def is_signed(request: HttpRequest) -> bool:
    """Whether the gateway signed this request, within the window."""
    given = request.headers.get("Groupcast-Signature", "")
    parts = {name: value for name, _, value in (part.partition("=") for part in given.split(","))}
    at, kid = parts.get("t", ""), parts.get("kid", "")
    if not (at.isascii() and at.isdigit() and len(at) < 13) or kid not in signing_secrets():
        return False
    # The target as sent, where the server has it (gunicorn, uWSGI): Django has it decoded.
    query = request.META.get("QUERY_STRING", "")
    rebuilt = escape_uri_path(request.path) + (f"?{query}" if query else "")
    target = request.META.get("RAW_URI") or request.META.get("REQUEST_URI") or rebuilt
    ws_path = request.headers.get("Groupcast-Path", "")
    expected = sign(request.method or "", target, request.body, ws_path, kid=kid, at=int(at))
    is_fresh = abs(time.time() - int(at)) <= SIGNATURE_WINDOW
    return hmac.compare_digest(given.encode(), expected.encode()) and is_fresh


# ===== What a project registers: who may connect, and what browsers may call =====

Handler = Callable[..., Any]
AnyHandler = TypeVar("AnyHandler", bound=Handler)


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


connect_handlers: list[Handler] = []
call_handlers: dict[str, tuple[Handler, bool]] = {}


def connect(handler: AnyHandler) -> AnyHandler:
    """Registers the function that decides about new connections: `handler(request)`.

    `request.user` is the user of the browser's session, `request.GET` has the route's parameters.
    It returns None (logged-in users may connect, others not), a list of further groups to join, a
    dict (sub, groups, claims, expires_in, welcome), or an HttpResponse, of which 401 and 403
    refuse. PermissionDenied refuses, too. A dict with a `sub` admits visitors who are not logged
    in; it must not look like a user's primary key. The answer may depend on path, host and cookies
    only: the gateway caches it by these.
    """
    connect_handlers[:] = [handler]
    return handler


def call(name: str, *, login: bool = True) -> Callable[[AnyHandler], AnyHandler]:
    """Registers a function that browsers can call by this name: `handler(request, data)`.

    `request.user` is the connection's user; unless `login` is False, an active user is required.
    The returned value goes to the browser as the result, None as no result; an `Answer` can also
    change memberships. PermissionDenied, Http404 and ValidationError refuse; the browser gets their
    message.
    """

    def register(handler: AnyHandler) -> AnyHandler:
        call_handlers[name] = (handler, login)
        return handler

    return register


# ===== Requests to the gateway's HTTP API =====


class GroupcastError(Exception):
    """The gateway refused a request. `status` is None if it could not be reached.

    `code` is the gateway's word for the problem, such as "bad_group"; `detail` says it in a
    sentence.
    """

    def __init__(self, detail: str, status: int | None = None, code: str = "") -> None:
        super().__init__(detail)
        self.detail, self.status, self.code = detail, status, code


class Recording(Protocol):
    """What takes requests in place of the gateway, in tests."""

    on_commit: bool

    def take(self, method: str, target: str, body: bytes) -> dict[str, Any]:
        """Records one request; returns the answer."""

    def see(self, group: str, message: dict[str, Any]) -> None:
        """Records what Channels' `group_send` sends."""


recordings: list[Recording] = []  # the last one takes all requests


def ask_gateway(method: str, target: str, body: bytes = b"", key: str = "") -> dict[str, Any]:
    """Sends a request to the gateway; repeats it after a 503, within TIMEOUT seconds.

    Of a batch without a key, only what was not accepted is repeated. Raises GroupcastError, and
    ImproperlyConfigured.
    """
    if recordings:
        return recordings[-1].take(method, target, body)
    deadline = time.monotonic() + setting("TIMEOUT")
    while True:
        status, pause, answer = exchange(method, target, body, key, deadline)
        refused = [each for each in answer.get("results", ()) if "problem" in each]
        if status < 300 and not refused:
            return answer
        problem = refused[0]["problem"] if refused else answer
        status = problem.get("status", status)
        if status != 503 or time.monotonic() + pause >= deadline:
            detail = problem.get("detail", f"the gateway answered {status}")
            raise GroupcastError(detail, status, problem.get("code", ""))
        if refused and not key:  # each part of a key is of a place in the whole
            body = rest_of(body, refused)
        time.sleep(pause)


def rest_of(batch: bytes, refused: list[dict[str, Any]]) -> bytes:
    """The batch of what was refused, in order."""
    publications = json.loads(batch)["publications"]
    rest = [{**publications[one["publication"]], "groups": [one["group"]]} for one in refused]
    return json.dumps({"publications": rest}, separators=(",", ":"), ensure_ascii=False).encode()


class Line:
    """An open HTTP connection, of one process and to one address."""

    def __init__(self, owner: tuple[int, str], http: HTTPConnection) -> None:
        self.owner, self.http = owner, http

    def __del__(self) -> None:
        self.http.close()  # with its thread: those of asynchronous code come and go


kept = threading.local()  # per thread: the `line`


def exchange(
    method: str, target: str, body: bytes, key: str, deadline: float
) -> tuple[int, int, dict[str, Any]]:
    """One request and its answer: status, seconds to wait before another, JSON."""
    url = setting("API")
    headers = {"Authorization": f"Bearer {setting('KEY')}", "Content-Type": "application/json"}
    headers.update({"Idempotency-Key": key} if key else {})
    scheme, address, prefix = urlsplit(url)[:3]
    # A forked worker inherits its parent's connection and socket, and must not use them.
    line = getattr(kept, "line", None)
    if line is None or line.owner != (os.getpid(), url):
        http = (HTTPSConnection if scheme == "https" else HTTPConnection)(address)
        kept.line = line = Line((os.getpid(), url), http)
    http = line.http
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
            return exchange(method, target, body, key, deadline)
        raise GroupcastError(f"the gateway at {url} cannot be reached: {error!r}") from error
    except BaseException:  # Celery's time limit, gevent's Timeout: the answer is still to come
        http.close()
        raise
    is_json = content and "json" in response.headers.get_content_subtype()
    pause = response.headers.get("Retry-After", "")
    return (
        response.status,
        int(pause) if pause.isdigit() else 1,
        json.loads(content) if is_json else {},
    )


# ===== Events to browsers, from synchronous and asynchronous code =====

if TYPE_CHECKING:
    from typing_extensions import Unpack

Event = dict[str, Any]
Publication = tuple[Union[str, Sequence[str]], Event]
Seconds = Union[float, timedelta]


class When(TypedDict, total=False):
    """When a request is sent."""

    on_commit: bool  # after the commit of a transaction that is open; by default True
    using: str | None  # the database of that transaction; by default "default"


class BatchOptions(When, total=False):
    """Options of `send_many`."""

    key: str | None  # a repeated key sends nothing for two minutes


class SendOptions(BatchOptions, total=False):
    """Options of `send` and the like."""

    expiry: Seconds | None  # the event is not delivered later than this
    exclude: Sequence[str]  # connections that do not get it, by id or as "user:<sub>"


class Request(NamedTuple):
    """A request to the gateway that may wait for a commit."""

    method: str
    target: str
    body: bytes = b""
    key: str = ""
    on_commit: bool = True
    using: str | None = None

    def send(self) -> None:
        """Sends it now. Raises GroupcastError."""
        ask_gateway(self.method, self.target, self.body, self.key)

    def after_commit(self) -> bool:
        """Leaves it to the end of the transaction, if there is one. Returns whether it did."""
        waits = self.on_commit and (not recordings or recordings[-1].on_commit)
        waits = waits and transaction.get_connection(self.using).in_atomic_block
        if waits:
            transaction.on_commit(self.send, using=self.using, robust=True)
        return waits

    def run(self) -> None:
        """Sends it, or leaves it to the commit."""
        if not self.after_commit():
            self.send()

    async def arun(self) -> None:
        """As `run`, without blocking the event loop."""
        # A transaction belongs to the thread of thread-sensitive code; the request itself must not
        # hold up that thread.
        if not await sync_to_async(self.after_commit)():
            await sync_to_async(self.send, thread_sensitive=False)()


def sending(
    kind: str,
    name: str,
    event: Event,
    *,
    expiry: Seconds | None = None,
    exclude: Sequence[str] = (),
    **options: Unpack[BatchOptions],
) -> Request:
    """The request that sends an event to one of a kind: groups, users or connections."""
    query: list[tuple[str, Any]] = [("except", each) for each in exclude]
    if expiry is not None:
        seconds = expiry.total_seconds() if isinstance(expiry, timedelta) else expiry
        query.append(("expiry_ms", round(seconds * 1000)))
    target = f"/{kind}/{quote(name, safe='')}/send" + (f"?{urlencode(query)}" if query else "")
    return posting(target, checked(event), **options)


def batching(
    publications: Iterable[Publication], **options: Unpack[BatchOptions]
) -> Request | None:
    """The request that sends several events, or None if there are none."""
    pairs = [([to] if isinstance(to, str) else list(to), event) for to, event in publications]
    batch = [{"groups": groups, "event": checked(event)} for groups, event in pairs]
    return posting("/batch", {"publications": batch}, **options) if batch else None


def posting(
    target: str,
    content: Any,
    *,
    on_commit: bool = True,
    using: str | None = None,
    key: str | None = None,
) -> Request:
    """A POST, encoded now: the caller may change the event before the commit."""
    encode = partial(json.dumps, cls=DjangoJSONEncoder, separators=(",", ":"), allow_nan=False)
    body = encode(content, ensure_ascii=False).encode()
    # No key of its own: the layer would keep 230 bytes for each event for two minutes.
    return Request("POST", target, body, key or "", on_commit, using)


def checked(event: Event) -> Event:
    """The event; raises TypeError if it is none."""
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise TypeError(f"an event is a dict with a string 'type', not {event!r:.80}")
    return event


def send(group: str, event: Event, **options: Unpack[SendOptions]) -> None:
    """Sends an event, a dict with a string `type`, to all members of a group.

    Inside a transaction (of the database `using`) it is sent after the commit, and a failure is
    logged, since nothing can be undone by then. Outside, or with `on_commit=False`, it is sent at
    once, and a failure raises GroupcastError. A repeated `key` sends nothing for two minutes;
    without one, an event whose answer was lost may be delivered twice. After `expiry`, in seconds
    or a timedelta, the event is no longer delivered. Connections in `exclude`, by id or as
    "user:<sub>", do not get it. What is no event raises TypeError.
    """
    sending("groups", group, event, **options).run()


def send_user(user: Any, event: Event, **options: Unpack[SendOptions]) -> None:
    """Sends an event to all connections of a user (or of a `sub`); options as in `send`."""
    sending("users", sub_of(user), event, **options).run()


def send_connection(connection: str, event: Event, **options: Unpack[SendOptions]) -> None:
    """Sends an event to one connection, such as `request.groupcast.id`; options as in `send`."""
    sending("connections", connection, event, **options).run()


def send_many(publications: Iterable[Publication], **options: Unpack[BatchOptions]) -> None:
    """Sends up to 1000 events in one request, in order: pairs of a group, or several, and an event.

    Each succeeds or fails independently: after an error, the others may have been sent. Options are
    `on_commit`, `using` and `key`, as in `send`.
    """
    if batch := batching(publications, **options):
        batch.run()


def disconnect(user: Any, code: int = 4401, *, session: str | None = None) -> None:
    """Closes a user's (or `sub`'s) connections on all instances, or those of one session.

    Call it after a change of password, or of what the user may see. With 4503 clients reconnect,
    and the connect hook is asked again; with 4401, 4403 and 4409 they do not. Raises
    GroupcastError.
    """
    query = urlencode({"code": code, **({"session": session} if session else {})})
    ask_gateway("POST", f"/users/{quote(sub_of(user), safe='')}/close?{query}")


def look(user: Any) -> dict[str, Any]:
    """A user's connections, their groups and drops, as known to the instance that answers."""
    return ask_gateway("GET", f"/users/{quote(sub_of(user), safe='')}")


async def asend(group: str, event: Event, **options: Unpack[SendOptions]) -> None:
    """As `send`, for asynchronous code."""
    await sending("groups", group, event, **options).arun()


async def asend_user(user: Any, event: Event, **options: Unpack[SendOptions]) -> None:
    """As `send_user`, for asynchronous code."""
    await sending("users", sub_of(user), event, **options).arun()


async def asend_connection(connection: str, event: Event, **options: Unpack[SendOptions]) -> None:
    """As `send_connection`, for asynchronous code."""
    await sending("connections", connection, event, **options).arun()


async def asend_many(publications: Iterable[Publication], **options: Unpack[BatchOptions]) -> None:
    """As `send_many`, for asynchronous code."""
    if batch := batching(publications, **options):
        await batch.arun()


async def adisconnect(user: Any, code: int = 4401, *, session: str | None = None) -> None:
    """As `disconnect`, for asynchronous code."""
    await sync_to_async(disconnect, thread_sensitive=False)(user, code, session=session)


async def alook(user: Any) -> dict[str, Any]:
    """As `look`, for asynchronous code."""
    return await sync_to_async(look, thread_sensitive=False)(user)


def sub_of(user: Any) -> str:
    """How the gateway calls a user, or a `sub` itself."""
    return str(getattr(user, "pk", user))


# ===== Of which tasks a group, chord or chain consists: stored for the gateway, which counts them =====

SET_EVENT = "task-set"

tasks_log = logging.getLogger("groupcast.tasks")


def store_children(task: Any) -> None:
    """Stores what the result of a group, chord or chain consists of, as `GroupResult.save` does.

    Celery itself stores it only where a site asks for it. Where the result back end is not Redis
    it goes to the gateway as a worker event. Does nothing for the result of a single task, and for
    an id. Never raises: a server that is away costs the count, and a line in the log.
    """
    if getattr(task, "results", None) is None and getattr(task, "parent", None) is None:
        return
    try:
        if is_redis(task.app):
            store(task.app.backend, task)
        elif not task.app.conf.task_always_eager:
            report_set(task)
    except Exception as error:  # the server's, or its library's
        tasks_log.warning("the tasks of %s are not counted: %s", task, error)


def report_set(task: Any) -> None:
    """Sends it as an event, which gateways that listen remember."""
    with task.app.events.default_dispatcher() as dispatcher:
        dispatcher.send(SET_EVENT, uuid=task.id, set=set_contents(task))


def set_contents(task: Any) -> Any:
    """What is stored or sent."""
    is_group = getattr(task, "results", None) is not None
    # What is no group ends with its last task, and not once all that is counted has ended.
    return {"result": as_tuple(task), "has_last": not is_group}


def store(backend: Any, task: Any) -> None:
    """As `GroupResult.save`, which tries for 20 seconds while Redis is away: a page waits here."""
    key = backend.get_key_for_group(task.id)
    value = backend.encode(set_contents(task))
    with backend.client.pipeline() as pipe:
        pipe.set(key, value, ex=backend.expires or None)
        pipe.publish(key, value)
        pipe.execute()


def as_tuple(task: Any) -> Any:
    """All that is to be counted, as a GroupResult gives it.

    It is stored under the id of the last task, never under that of a chord's header: Celery
    collects the results of a stored header in another way. No result objects are made: they would
    subscribe to what this process never reads.
    """
    if getattr(task, "results", None) is not None:
        return task.as_tuple()
    header = getattr(task.parent, "results", None)
    steps = header if header is not None else steps_of(task)
    return (task.id, None), [((step.id, None), None) for step in steps]


def steps_of(task: Any) -> list[Any]:
    """The tasks of a chain, the last included; groups within it count one by one."""
    steps: list[Any] = []
    while task is not None:
        steps.extend(getattr(task, "results", None) or [task])
        task = task.parent
    return steps


def is_redis(app: Any) -> bool:
    """Whether the gateway can read what the result back end stores."""
    return str(app.conf.result_backend or "").startswith(("redis", "sentinel"))


# ===== Who may watch a Celery task: the group of each task, and who is let into it =====

WATCH_CALL = "groupcast.watch"
WATCH_PERIOD = (
    86_400  # seconds for which a page may begin to watch: as long as Celery keeps results
)


def task_group(task: Any) -> str:
    """The group in which the gateway sends the states of a task, given as a result or as an id.

    For `Answer(join=[…])` and your own `send`. Given the result of a group, chord or chain, it
    stores of which tasks that consists, so that the gateway counts them in the group of its id:
    that of a GroupResult, or of the last task. Raises TypeError for what has no id.
    """
    identifier = getattr(task, "id", task)
    if not isinstance(identifier, str) or not identifier:
        raise TypeError(f"a task is an AsyncResult, a GroupResult or an id, not {task!r:.80}")
    store_children(task)
    return f"{setting('TASKS')}{identifier}"


def following(task: Any, user: Any, on_commit: bool, using: str | None) -> Request:
    """The request that lets a user's connections into the group of a task."""
    group, member = quote(task_group(task), safe=""), quote(f"user:{sub_of(user)}", safe="")
    target = f"/groups/{group}/members/{member}"
    return Request("PUT", target, on_commit=on_commit, using=using)


def follow(task: Any, user: Any, *, on_commit: bool = True, using: str | None = None) -> None:
    """Lets the connections that a user (or `sub`) has now watch a task, on all their pages.

    Inside a transaction (of the database `using`) it happens after the commit, and a failure is
    logged. Outside, or with `on_commit=False`, it happens at once, and a failure raises
    GroupcastError. A page that is opened later watches by `{% groupcast_progress %}`.
    """
    following(task, user, on_commit, using).run()


async def afollow(
    task: Any, user: Any, *, on_commit: bool = True, using: str | None = None
) -> None:
    """As `follow`, for asynchronous code."""
    await following(task, user, on_commit, using).arun()


def ticket(task: Any, user: Any = None) -> str:
    """A signed text by which a page of this user may watch a task, for WATCH_PERIOD.

    Without a user, or for one who is not logged in, whoever has the ticket may. To know the id of a
    task is not enough.
    """
    sub = sub_of(user) if getattr(user, "is_authenticated", user is not None) else None
    return signing.dumps([task_group(task), sub], salt=WATCH_CALL)


@call(WATCH_CALL, login=False)
def watch(request: HttpRequest, data: Any) -> Answer:
    """What the progress element calls: lets its connection into the group that its ticket names."""
    given = data.get("ticket") if isinstance(data, dict) else None
    if not isinstance(given, str):
        raise ValidationError("a ticket is needed")
    try:
        group, sub = signing.loads(given, salt=WATCH_CALL, max_age=WATCH_PERIOD)
    except signing.SignatureExpired:
        raise PermissionDenied("the page is too old: load it again") from None
    except signing.BadSignature:
        raise PermissionDenied("the ticket is not this site's") from None
    if sub is not None and not (request.user.is_authenticated and sub_of(request.user) == sub):
        raise PermissionDenied("the ticket is another user's")
    return Answer(join=[group])


# ===== `{% groupcast_progress task %}`: a task's progress bar on a page without npm =====

register = template.Library()


@register.simple_tag(takes_context=True)
def groupcast_progress(
    context: template.Context, task: Any, label: str = "", nonce: str = ""
) -> SafeString:
    """The element that shows a task's progress, and the script that brings it to life.

    `task` is an AsyncResult, a GroupResult or an id. `label` names the bar for those who do not see
    it. `nonce` is that of a Content-Security-Policy. Raises TypeError for what is no task.
    """
    user = getattr(context.get("request"), "user", context.get("user"))
    attributes = {
        "group": task_group(task),
        "ticket": ticket(task, user),
        "path": setting("PATH"),
        "label": label,
    }
    return format_html(
        '<script type="module" src="{}progress.js"{}></script>'
        "<groupcast-progress{}></groupcast-progress>",
        setting("CLIENT"),
        format_html(' nonce="{}"', nonce) if nonce else "",
        format_html_join("", ' {}="{}"', ((name, at) for name, at in attributes.items() if at)),
    )


# ===== The two views that the gateway requests: the connect hook and calls =====


def refusal(status: int, code: str, message: str) -> HttpResponse:
    """The answer that refuses; what the request did in the database is rolled back."""
    # The exception has become an answer, so the request's transaction would be committed.
    for database in connections.all():
        if database.settings_dict["ATOMIC_REQUESTS"] and database.in_atomic_block:
            database.set_rollback(True)
    return JsonResponse({"code": code, "message": message}, status=status)


def for_gateway(view: Handler) -> Handler:
    """Only signed requests reach the view; exceptions that refuse become answers."""

    @csrf_exempt
    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponse:
        if not is_signed(request):
            return refusal(401, "bad_signature", "the signature is missing, wrong or too old")
        try:
            answer: HttpResponse = view(request)
        except PermissionDenied as error:
            return refusal(403, "forbidden", str(error) or "not allowed")
        except Http404 as error:
            return refusal(404, "not_found", str(error) or "not found")
        except ValidationError as error:
            return refusal(400, "bad_request", " ".join(error.messages))
        return answer

    return guarded


@for_gateway
@require_GET
def connect_view(request: HttpRequest) -> HttpResponse:
    """Answers who is connecting, and which groups they join."""
    # One answer may serve many tabs, so only the path is known here, no connection.
    connection = Connection(request.headers.get("Groupcast-Path", ""))
    request.groupcast = connection  # type: ignore[attr-defined]
    answer: dict[str, Any] = {"groups": []}
    if request.user.is_authenticated:
        answer.update(sub=str(request.user.pk), session=session_name(request))
    if not connect_handlers and request.GET:  # a 200 would confirm them unchecked
        raise PermissionDenied("@groupcast.connect must decide about the route's parameters")
    returned = connect_handlers[0](request) if connect_handlers else None
    if isinstance(returned, HttpResponse):
        # Without a code the gateway takes these for a proxy's or a middleware's.
        code = {401: "unauthorized", 403: "forbidden"}.get(returned.status_code)
        return refusal(returned.status_code, code, "refused") if code else returned
    answer.update(returned if isinstance(returned, dict) else {"groups": list(returned or ())})
    if "sub" not in answer:
        return refusal(401, "unauthorized", "nobody is logged in")
    return JsonResponse({name: value for name, value in answer.items() if value is not None})


@for_gateway
@require_POST
def call_view(request: HttpRequest) -> HttpResponse:
    """Runs the function that is registered for a call."""
    body = json.loads(request.body)
    connection = Connection(
        path=body["path"],
        id=body["connection"],
        channel=body.get("channel") or "",
        **{name: body.get(name) for name in ("sub", "claims", "session")},
        idempotency_key=request.headers.get("Idempotency-Key"),
    )
    request.groupcast = connection  # type: ignore[attr-defined]
    request.user = SimpleLazyObject(partial(user_of, body["sub"]))  # type: ignore[assignment]
    handler, login = call_handlers.get(body["call"], (None, False))
    if handler is None:
        unknown = {"code": "not_found", "message": "no such call", "unregistered": True}
        return JsonResponse(unknown, status=404)
    if login and not request.user.is_authenticated:
        raise PermissionDenied("the user no longer exists, or is not active")
    returned = handler(request, body.get("data"))
    if isinstance(returned, HttpResponse):
        return returned
    answer = (returned if isinstance(returned, Answer) else Answer(returned))._asdict()
    answer = {name: value for name, value in answer.items() if value is not None and value != ()}
    return JsonResponse(answer) if answer else HttpResponse(status=204)


def user_of(sub: str) -> Any:
    """The active user with this primary key, or an AnonymousUser."""
    from django.contrib.auth.models import AnonymousUser  # once the apps are loaded, not before

    try:
        user = get_user_model()._default_manager.filter(pk=sub).first()
    except (ValueError, OverflowError, ValidationError):  # not a value of the primary key's type
        user = None
    return user if user is not None and user.is_active else AnonymousUser()


def session_name(request: HttpRequest) -> str | None:
    """How the gateway knows the request's session, if it has one."""
    # A digest of the key: the key itself would log anyone in.
    key = getattr(getattr(request, "session", None), "session_key", None)
    return salted_hmac("groupcast.session", key, algorithm="sha256").hexdigest() if key else None


urlpatterns = [path("connect", connect_view), path("call", call_view)]


# ===== Logging out closes the connections of the session =====

logged_out = Local()


def close_on_logout(sender: Any, request: HttpRequest, user: Any, **_: Any) -> None:
    """Closes the connections of the ended session, once the response is sent."""
    session = session_name(request)
    if user is not None and session is not None:
        logged_out.sessions = [*getattr(logged_out, "sessions", ()), (sub_of(user), session)]


def close_logged_out(sender: Any, **_: Any) -> None:
    """Closes what `close_on_logout` noted in this request."""
    # Not at once: until the response is sent, the browser has its cookie and could reconnect.
    sessions, logged_out.sessions = getattr(logged_out, "sessions", ()), ()
    for sub, session in sessions:
        try:
            disconnect(sub, session=session)
        except GroupcastError:
            logging.getLogger("groupcast").exception("user %s logged out, but is connected", sub)


user_logged_out.connect(close_on_logout, dispatch_uid="groupcast")
request_finished.connect(close_logged_out, dispatch_uid="groupcast")


# ===== Sees what a test sends by Channels' `group_send` =====

IN_MEMORY = "channels.layers.InMemoryChannelLayer"


def layer_classes() -> list[type]:
    """The classes of the configured channel layers, and that of memory; none without Channels."""
    configured = getattr(settings, "CHANNEL_LAYERS", {}).values()
    paths = dict.fromkeys([IN_MEMORY, *(layer["BACKEND"] for layer in configured)])
    try:
        return [import_string(path) for path in paths]
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "channels":
            return []
        raise


def watch_group_send(see: Callable[[str, Any], None]) -> Callable[[], None]:
    """Has `see(group, message)` called for each `group_send`; returns what ends it.

    A layer in memory delivers as before, as consumers under test expect. Any other does not: in
    tests nothing leaves the process. It checks name and message all the same.
    """
    undo: list[Callable[[], None]] = []
    for layer in layer_classes():
        is_local = issubclass(layer, import_string(IN_MEMORY))
        replace(layer, see, undo, delivers=is_local)

    def stop() -> None:
        while undo:
            undo.pop()()

    return stop


def replace(
    layer: type, see: Callable[[str, Any], None], undo: list[Callable[[], None]], *, delivers: bool
) -> None:
    """Replaces `group_send` of a class; what restores it is added to `undo`."""
    own = vars(layer).get("group_send")
    # The layer for pub/sub has no method of this name: it passes on what it is asked for.
    deliver = getattr(layer, "group_send", None)
    valid = import_module("channels.layers").BaseChannelLayer().require_valid_group_name

    async def group_send(self: Any, group: str, message: dict[str, Any]) -> None:
        if not isinstance(message, dict):
            raise AssertionError("Message is not a dict")
        valid(group)
        if not delivers and hasattr(self, "serialize"):
            self.serialize(message)
        see(group, message)
        if delivers and deliver is not None:
            await deliver(self, group, message)

    replaced: Any = layer
    replaced.group_send = wraps(deliver)(group_send) if deliver else group_send
    if own is None:
        undo.append(lambda: delattr(layer, "group_send"))
    else:
        undo.append(lambda: setattr(layer, "group_send", own))


# ===== Records in tests what would be sent =====


class RecordingLayer:
    """Replaces the gateway in tests: nothing is sent, everything is recorded.

    `sent` has (kind, name, event as browsers get it), where kind is groups, users or connections,
    also of what Channels' `group_send` sends; `joined` has (group, member) of `follow`;
    `disconnected` has subs. Events are recorded at once, since the transaction around a test is
    never committed; with `on_commit=True` they wait for a commit, as in production.

    Of channel layers only that in memory delivers to consumers meanwhile.
    """

    _stop: Callable[[], None] | None = None  # of the outermost, which sees `group_send` for all

    def __init__(self, *, on_commit: bool = False) -> None:
        self.on_commit = on_commit
        self.sent: list[tuple[str, str, Event]] = []
        self.joined: list[tuple[str, str]] = []
        self.disconnected: list[str] = []

    def to_group(self, group: str) -> list[Event]:
        """The events sent to a group."""
        return [event for *to, event in self.sent if to == ["groups", group]]

    def to_user(self, user: Any) -> list[Event]:
        """The events sent to a user (or a `sub`)."""
        return [event for *to, event in self.sent if to == ["users", sub_of(user)]]

    def take(self, method: str, target: str, body: bytes) -> dict[str, Any]:
        """Records one request to the gateway."""
        kind, *rest = [unquote(part) for part in urlsplit(target).path[1:].split("/")]
        content = json.loads(body) if body else {}
        for each in content.get("publications", ()) if kind == "batch" else ():
            self.sent += [("groups", name, each["event"]) for name in each["groups"]]
        if rest[-1:] == ["send"]:
            self.sent.append((kind, rest[0], content))
        elif rest[-1:] == ["close"]:
            self.disconnected.append(rest[0])
        elif method == "PUT" and rest[1:2] == ["members"]:
            self.joined.append((rest[0], rest[2]))
        return {"connections": []}

    def see(self, group: str, message: Event) -> None:
        """Records one `group_send`."""
        self.sent.append(("groups", group, deepcopy(message)))

    def __enter__(self) -> RecordingLayer:  # noqa: PYI034  Self is Python 3.11's
        if not recordings:
            self._stop = watch_group_send(lambda *sent: recordings[-1].see(*sent))
        recordings.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        recordings.remove(self)
        if self._stop is not None:
            self._stop()


class GroupcastTestMixin:
    """For a TestCase: `self.groupcast` records what the test sends."""

    def setUp(self) -> None:
        self.groupcast = RecordingLayer().__enter__()
        self.addCleanup(self.groupcast.__exit__)  # type: ignore[attr-defined]
        super().setUp()  # type: ignore[misc]


# ===== Progress of Celery tasks by worker events, where the result back end shows none =====

PROGRESS_EVENT = "task-progress"
MAX_WAITING = 1000  # tasks of one process whose newest progress waits to be sent
MAX_PROGRESS = 65_536  # bytes of JSON of one `meta`: what is larger is no progress
SEND_PERIOD = 0.05  # seconds between two events of a task: more than 20 per second nobody sees
RETRY_PERIOD = 5.0  # seconds until a broker that failed is tried again
MAX_AGE = 30.0  # seconds after which progress that could not be sent is dropped

log = logging.getLogger("groupcast.celery")


def install(app: Any) -> None:
    """Has each `update_state` also send a worker event, "task-progress", for Groupcast to show.

    For result back ends that nobody else can follow, such as `rpc://`. Write it into the site's
    celery.py, below `app = Celery(…)`. Events are sent by workers that have them on (`-E`, or
    `worker_send_task_events`), from a thread of their own: a task neither waits for the broker nor
    sees its errors. Of several updates within 50 ms the newest is sent. To call it twice is the
    same as once.
    """
    from celery import signals
    from celery.app.task import Task

    if is_installed(app):
        return
    app.groupcast_progress = progress = Progress(app)
    # Weakly referenced receivers would vanish: `progress` keeps this one.
    signals.worker_init.connect(progress.begin, weak=False)
    if not hasattr(Task.update_state, "groupcast"):
        Task.update_state = extended(Task.update_state)


def is_installed(app: Any) -> bool:
    """Whether `install` was called for this app."""
    return getattr(app, "groupcast_progress", None) is not None


def extended(update_state: Any) -> Any:
    """`update_state` of all tasks; those of an app with progress note it, too."""

    # In the class that all tasks have in common: the base of a task need not be `app.Task`.
    @wraps(update_state)
    def update(
        self: Any, task_id: Any = None, state: Any = None, meta: Any = None, **options: Any
    ) -> Any:
        returned = update_state(self, task_id=task_id, state=state, meta=meta, **options)
        progress = getattr(self.app, "groupcast_progress", None)
        if progress is not None and progress.is_on():
            progress.note(task_id or self.request.id, state, meta, self.request.hostname)
        return returned

    update.groupcast = True  # type: ignore[attr-defined]
    return update


class Progress:
    """The newest progress of each task, on its way to the broker."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.worker_sends = False
        self.sender: Sender | None = None

    def begin(self, sender: Any = None, **_: Any) -> None:
        """Learns from a starting worker whether it sends events; its children inherit that."""
        if getattr(sender, "app", None) is self.app:
            self.worker_sends = bool(sender.task_events)

    def is_on(self) -> bool:
        """Whether this worker sends events."""
        return self.worker_sends

    def note(self, task_id: Any, state: Any, meta: Any, hostname: Any) -> None:
        """Leaves one update to the sender. Never raises."""
        try:
            from kombu.utils import json as kombu_json

            # Encoded here: the task may change `meta` as soon as this returns.
            encoded: str = kombu_json.dumps(meta)  # type: ignore[no-untyped-call]
            if len(encoded) > MAX_PROGRESS:
                raise ValueError(f"{len(encoded)} bytes of meta; at most {MAX_PROGRESS} are sent")
            if self.sender is None or self.sender.pid != os.getpid():  # in a child: its own
                self.sender = Sender(self.app)
            self.sender.put(str(task_id), (time.time(), str(state), encoded, hostname))
        except Exception as error:  # the task comes first
            log.warning("progress of task %s is not sent: %s", task_id, error)


Update = tuple[float, str, str, Any]  # time, state, meta as JSON, the worker's name


class Sender:
    """The thread of one process that sends what `put` leaves it."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.pid = os.getpid()
        self.waiting: dict[str, Update] = {}
        self.changed = threading.Condition()
        self.is_failing = False
        threading.Thread(target=self.run, name="groupcast-progress", daemon=True).start()

    def put(self, task_id: str, update: Update) -> None:
        """Replaces what waits of this task; of too many tasks, the oldest gives way."""
        with self.changed:
            if task_id not in self.waiting and len(self.waiting) >= MAX_WAITING:
                del self.waiting[next(iter(self.waiting))]
            self.waiting[task_id] = update
            self.changed.notify()

    def run(self) -> None:
        """Sends what waits, for as long as the process lives."""
        while True:
            with self.changed:
                while not self.waiting:
                    self.changed.wait()
                updates, self.waiting = self.waiting, {}
            try:
                self.send(updates)
            except Exception as error:  # the broker's, or its library's
                self.failed(updates, error)
                time.sleep(RETRY_PERIOD)
            else:
                self.is_failing = False
                time.sleep(SEND_PERIOD)

    def send(self, updates: dict[str, Update]) -> None:
        """One event for each; those that were sent are removed."""
        hostname = next(iter(updates.values()))[3]
        with self.app.events.default_dispatcher(hostname=hostname) as dispatcher:
            for task_id, (at, state, meta, _) in list(updates.items()):
                fields = {"uuid": task_id, "state": state, "progress": json.loads(meta)}
                dispatcher.send(PROGRESS_EVENT, timestamp=at, **fields)
                del updates[task_id]

    def failed(self, updates: dict[str, Update], error: Exception) -> None:
        """Keeps what is young, unless there is something newer."""
        if not self.is_failing:
            log.warning("progress waits, the broker failed: %s", error)
        self.is_failing = True
        with self.changed:
            young = {
                task_id: update
                for task_id, update in updates.items()
                if time.time() - update[0] < MAX_AGE
            }
            self.waiting = {**young, **self.waiting}


# ===== What `manage.py check` says about Groupcast: what is missing, and what to do =====

# A mailbox of the gateway; `[channels] prefix` may change the first word.
MAILBOX = "groupcast.groupcast.c0"
DEFAULT_CAPACITY = 100  # messages that channels_redis keeps by default; others it drops
RECEIVED = ("RedisChannelLayer", "RedisPubSubChannelLayer")  # classes that the gateway understands
# What the helper's views use of a request.
MIDDLEWARE = (
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
)


def check_settings(app_configs: Any, **_: Any) -> list[checks.CheckMessage]:
    """E001 unknown settings, E002 address, E003 short secret, W001 no KEY, W002 no SECRET."""
    try:
        given_settings()
    except ImproperlyConfigured as error:
        return [checks.Error(str(error), id="groupcast.E001")]
    return [*check_address(), *check_secrets()]


def check_address() -> Iterator[checks.CheckMessage]:
    """Whether API is the address of something."""
    address = str(setting("API"))
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        yield checks.Error(
            f"settings.GROUPCAST['API'] is {address!r}, which is no URL.",
            hint="It is the gateway's listen.api, such as http://127.0.0.1:8081.",
            id="groupcast.E002",
        )


def check_secrets() -> Iterator[checks.CheckMessage]:
    """Whether both secrets are there, and long enough."""
    for name, number in (("KEY", "W001"), ("SECRET", "W002")):
        try:
            is_given = bool(setting(name) or (name == "SECRET" and setting("KEYS")))
            problem = f"Groupcast has no {name}."
        except ImproperlyConfigured as error:
            is_given, problem = False, f"Groupcast has no {name}: {error}."
        if not is_given:
            yield checks.Warning(
                problem,
                hint=f"Set the variable {VARIABLES[name]}, or put the groupcast.env that "
                f"`groupcast init django` wrote where it is looked for: {env_file()}.",
                id=f"groupcast.{number}",
            )
        elif name == "SECRET":
            try:
                signing_secrets()
            except ImproperlyConfigured as error:
                yield checks.Error(str(error), id="groupcast.E003")


def check_site(app_configs: Any, **_: Any) -> Iterator[checks.CheckMessage]:
    """W003 the helper's URLs, W004 sessions and login."""
    if getattr(settings, "ROOT_URLCONF", None) and not {connect_view, call_view} <= set(
        views(get_resolver().url_patterns)
    ):
        yield checks.Warning(
            "The gateway cannot ask this site who connects: no URL leads to Groupcast's views.",
            hint='Add path("groupcast/", include("groupcast")) to the URLs of the site.',
            id="groupcast.W003",
        )
    installed = list(getattr(settings, "MIDDLEWARE", ()))
    if missing := [path for path in MIDDLEWARE if path.rsplit(".", 1)[1] not in ends(installed)]:
        yield checks.Warning(
            f"The connect hook knows nobody: MIDDLEWARE has no {missing[0]}.",
            hint="Sessions and login of Django tell the gateway who connects.",
            id="groupcast.W004",
        )


def views(patterns: Any) -> Iterator[Any]:
    """All views of URL patterns."""
    for each in patterns:
        if isinstance(each, URLResolver):
            yield from views(each.url_patterns)
        elif isinstance(each, URLPattern):
            yield each.callback


def ends(paths: list[str]) -> set[str]:
    """The last words of dotted paths: a site may have a subclass, or a module of its own."""
    return {path.rsplit(".", 1)[-1] for path in paths}


def check_channel_layers(app_configs: Any, **_: Any) -> Iterator[checks.CheckMessage]:
    """W005 a layer in memory, W006 another that is not received, W007 its capacity forgotten."""
    for alias, layer in getattr(settings, "CHANNEL_LAYERS", {}).items():
        backend = str(layer.get("BACKEND", ""))
        name = backend.rsplit(".", 1)[-1]
        where = f"CHANNEL_LAYERS[{alias!r}]"
        if name == "InMemoryChannelLayer":
            yield checks.Warning(
                f"{where} is in memory, so what group_send sends does not reach the gateway.",
                hint="Use channels_redis, or groupcast.send in place of group_send.",
                id="groupcast.W005",
            )
        elif name not in RECEIVED:
            yield checks.Warning(
                f"{where} is {backend}, which the gateway does not receive.",
                hint="It receives channels_redis.core and channels_redis.pubsub.",
                id="groupcast.W006",
            )
        elif name == "RedisChannelLayer" and not has_capacity(layer.get("CONFIG", {})):
            yield checks.Warning(
                f"{where} has no channel_capacity for the gateway: when more than "
                f"{DEFAULT_CAPACITY} messages wait, Channels drops group_send's without a word.",
                hint='Add to its CONFIG: "channel_capacity": {"groupcast.*": 10000}.',
                id="groupcast.W007",
            )


def has_capacity(config: Any) -> bool:
    """Whether a layer's configuration gives the gateway's mailboxes more than the default."""
    patterns = config.get("channel_capacity", {})
    for pattern, capacity in dict(patterns).items():
        matches = pattern.match if hasattr(pattern, "match") else None
        if matches(MAILBOX) if matches else fnmatchcase(MAILBOX, str(pattern)):
            return bool(capacity > DEFAULT_CAPACITY)
    return bool(config.get("capacity", DEFAULT_CAPACITY) > DEFAULT_CAPACITY)


def check_celery(app_configs: Any, **_: Any) -> Iterator[checks.CheckMessage]:
    """W008 a result back end whose progress nobody else can follow."""
    # A site that has Celery has imported it with its own package by now.
    celery = sys.modules.get("celery")
    app = getattr(getattr(celery, "_state", None), "default_app", None)
    backend = str(app.conf.result_backend or "") if app is not None else ""
    scheme = backend.partition(":")[0]
    if not backend or scheme == "disabled" or scheme.startswith(("redis", "sentinel")):
        return
    if not is_installed(app):
        yield checks.Warning(
            f"Celery's result back end is {scheme}, so Groupcast can show no progress of tasks.",
            hint="Use a Redis result back end. Or, with Redis or RabbitMQ as the broker, give the "
            "gateway its address as events of [celery], write groupcast.celery.install(app) into "
            "the site's celery.py and start workers with -E.",
            id="groupcast.W008",
        )


CHECKS = (check_settings, check_site, check_channel_layers, check_celery)


# ===== The Django app =====


class GroupcastConfig(AppConfig):
    """In INSTALLED_APPS "groupcast"; of the one file, "groupcast.GroupcastConfig"."""

    name = "groupcast"
    verbose_name = "Groupcast"
    # A folder that does not exist. The one file lies beside manage.py, and by default Django would
    # take templates/ and static/ there for the app's.
    path = str(Path(__file__).resolve().with_suffix(""))

    def ready(self) -> None:
        """Registers what `manage.py check` says."""
        for check in CHECKS:
            checks.register(check, "groupcast")


# ===== What the package has in modules of their own =====

celery = SimpleNamespace(install=install, is_installed=is_installed)


def __getattr__(name: str) -> Any:
    """`from groupcast import groupcast_recorder` in conftest.py gives a pytest fixture."""
    if name not in ("groupcast_recorder", "groupcast_sent"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pytest

    def record() -> Iterator[RecordingLayer]:
        with RecordingLayer() as recorder:
            yield recorder

    return pytest.fixture(name=name)(record)
