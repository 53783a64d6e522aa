"""Events to browsers, from synchronous and asynchronous code."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Union
from urllib.parse import quote, urlencode

from asgiref.sync import sync_to_async
from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction

from groupcast._gateway import ask_gateway, recordings

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
