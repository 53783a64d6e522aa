"""Progress of Celery tasks by worker events, where the result back end shows none."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from functools import wraps
from typing import Any

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
