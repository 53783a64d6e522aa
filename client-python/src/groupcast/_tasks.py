"""Who may watch a Celery task: the group of each task, and who is let into it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from django.core import signing
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest

from groupcast._children import store_children
from groupcast._configuration import setting
from groupcast._handlers import Answer, call
from groupcast._sending import Request, sub_of

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
