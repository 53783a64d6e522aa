"""Of which tasks a group, chord or chain consists: stored for the gateway, which counts them."""

from __future__ import annotations

import logging
from typing import Any

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
