"""What a project registers: who may connect, and what browsers may call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable, NamedTuple, TypeVar

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
