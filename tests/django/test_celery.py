"""`update_state` as a worker event, for result back ends that nobody else can follow."""

import base64
import contextlib
import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import celery
import pytest
import redis

import groupcast
from conftest import HELPER, eventually
from servers import free_port, running

CELERY = groupcast.celery if hasattr(groupcast.celery, "Sender") else groupcast


@contextlib.contextmanager
def worker(broker, folder, *options):
    """A worker of `pictures` with results by rpc://, and its app."""
    variables = {
        "PICTURES_BROKER": broker,
        "PICTURES_RESULTS": "rpc://",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(HELPER)]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    log = folder / "worker"
    command = [sys.executable, "-m", "celery", "-A", "pictures", "worker", "--loglevel", "info"]
    command += ["--concurrency", "1", *options]
    environment = {**os.environ, **variables}
    with running(command, log, lambda: " ready." in log.read_text(), cwd=folder, env=environment):
        app = celery.Celery("pictures", broker=broker, backend="rpc://", set_as_current=False)
        yield app
        app.close()


def events_of(broker, app, task_id, total):
    """The progress events of a task that is started now, until the last one."""
    client = redis.Redis.from_url(broker)
    subscriber = client.pubsub()
    subscriber.psubscribe("/3.celeryev/task.progress")
    assert subscriber.get_message(timeout=20)["type"] == "psubscribe"
    app.send_task("pictures.resize", [total], task_id=task_id)
    events = []
    deadline = time.monotonic() + 30
    while not events or events[-1]["progress"]["current"] < total:
        assert time.monotonic() < deadline, events
        if message := subscriber.get_message(timeout=1):
            envelope = json.loads(message["data"])
            events.append(json.loads(base64.b64decode(envelope["body"])))
    subscriber.close()
    client.close()
    return events


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_update_state_sends_a_worker_event(broker, tmp_path, pool):
    with worker(broker, tmp_path, "-E", "--pool", pool) as app:
        events = events_of(broker, app, "t-1", 200)
        assert len(events) < 100, "of many updates at once the newest is sent"
        for event in events:
            assert event["type"] == "task-progress"
            assert (event["uuid"], event["state"]) == ("t-1", "PROGRESS")
            assert event["progress"].keys() == {"current", "total"}
        shown = [event["progress"]["current"] for event in events]
        assert shown == sorted(shown)
        again = events_of(broker, app, "t-2", 1)
        assert [event["uuid"] for event in again] == ["t-2"]


class Task(celery.Task):
    """A task in the middle of its work, whose result back end keeps everything."""

    name = "t"
    backend = SimpleNamespace(store_result=lambda *_, **__: None)


@pytest.fixture
def task():
    """A task of an app with `install`, whose broker cannot be reached."""
    app = celery.Celery("t", broker=f"redis://127.0.0.1:{free_port()}", set_as_current=False)
    app.conf.broker_transport_options = {"socket_connect_timeout": 1}
    groupcast.celery.install(app)
    groupcast.celery.install(app)
    task = Task()
    task.bind(app)
    task.push_request(id="t-1", hostname="w@here")
    yield task
    app.close()


def waiting(task):
    return task.app.groupcast_progress.sender.waiting


def test_workers_without_events_send_nothing(task):
    progress = task.app.groupcast_progress
    progress.begin(SimpleNamespace(app=task.app, task_events=False))
    task.update_state(state="PROGRESS", meta={})
    progress.begin(SimpleNamespace(app=object(), task_events=True))
    task.update_state(state="PROGRESS", meta={})
    assert progress.sender is None


def test_a_task_neither_waits_for_a_broker_nor_sees_its_errors(task, caplog):
    task.app.groupcast_progress.begin(SimpleNamespace(app=task.app, task_events=True))
    begun = time.monotonic()
    for number in range(3000):
        task.update_state(task_id=f"t-{number}", state="PROGRESS", meta={"current": number})
    assert time.monotonic() - begun < 5
    assert len(waiting(task)) <= CELERY.MAX_WAITING, "what waits is bounded"
    eventually(lambda: "the broker failed" in caplog.text)
    task.update_state(task_id="t-2999", state="PROGRESS", meta={"current": "newest"})
    eventually(lambda: "newest" in waiting(task).get("t-2999", "  ")[2])


@pytest.mark.parametrize("meta", [{"x": object()}, {"x": "y" * 70_000}])
def test_a_task_does_not_see_what_cannot_be_sent(task, meta, caplog):
    task.app.groupcast_progress.begin(SimpleNamespace(app=task.app, task_events=True))
    task.update_state(state="PROGRESS", meta=meta)
    assert "progress of task t-1 is not sent" in caplog.text


def test_an_error_of_the_result_back_end_is_the_tasks_as_before(task):
    def refuse(*_, **__):
        raise OSError("no room")

    task.backend = SimpleNamespace(store_result=refuse)
    with pytest.raises(OSError, match="no room"):
        task.update_state(state="PROGRESS", meta={})
