"""A Celery worker and the site that starts its tasks.

The one argument is JSON, see DEFAULTS. The first line on stdout is `{"ready": true}`. Then each
line of stdin starts a task, `{"task": name, "kwargs": {…}}`, or several as a group, chord or chain,
`{"canvas": "chord", "count": n}`; or it lets a task that waits take its next step, `{"step": id}`;
or it kills the worker and starts another one, `{"kill": true}`, answered by `{"killed": true}`.
`{"recorded": true}` is answered by the arguments of each task "record" that was carried out. The
answer to the first is `{"id": id}`, to the second also `"tasks"`, the ids to be counted.
"""

import importlib
import json
import os
import pathlib
import signal
import subprocess
import sys

import redis
from celery import Celery, chain, chord, group
from celery.signals import worker_ready

DEFAULTS = {
    "broker": "",
    "results": "",
    "prefix": "",  # global_keyprefix of the result back end
    "steps": "",  # the Redis over which the test lets tasks take steps
    "events": False,  # whether workers send events, progress among them
    "python": "",  # the interpreter of the worker; empty = this one
    "late": False,  # whether a task whose worker was killed is given to another one
    "role": "site",  # or "worker"
}
OPTIONS = {**DEFAULTS, **json.loads(sys.argv[1])}

app = Celery("worker", broker=OPTIONS["broker"], backend=OPTIONS["results"])
app.conf.update(
    task_track_started=True,
    result_extended=True,
    result_backend_transport_options={"global_keyprefix": OPTIONS["prefix"]},
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)


sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "client-python" / "src"))
if OPTIONS["events"]:
    importlib.import_module("groupcast.celery").install(app)

if OPTIONS["late"]:
    app.conf.update(
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        broker_transport_options={
            "visibility_timeout": 3,
            # Looks each second for what was not acknowledged; as it is, every 100 s.
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
        },
    )

steps = redis.Redis.from_url(OPTIONS["steps"], socket_timeout=None)


def wait(task):
    """Waits until the test lets this task take its next step."""
    steps.blpop(f"step:{task.request.id}", timeout=60)


@app.task(bind=True, name="pictures")
def pictures(self, count):
    for current in range(1, count + 1):
        wait(self)
        self.update_state(state="PROGRESS", meta={"current": current, "total": count})
    wait(self)
    return {"pictures": count}


@app.task(bind=True, name="fails")
def fails(self, retries=0):
    wait(self)
    error = ValueError("card 4111 was declined")
    if self.request.retries < retries:
        raise self.retry(exc=error, countdown=0)
    raise error


@app.task(bind=True, name="large")
def large(self, size):
    wait(self)
    return "x" * size


@app.task(name="record", bind=True)
def record(self, **kwargs):
    steps.rpush("recorded", json.dumps({"id": self.request.id, "kwargs": kwargs}))


@app.task(name="album")
def album(pictures):
    return len(pictures)


def start(canvas, count):
    """Starts as many tasks, and has the gateway count them, as the helper does for a page."""
    tasks = [pictures.si(count=0) for _ in range(count)]
    shapes = {"group": group(tasks), "chain": chain(tasks), "chord": chord(tasks, album.s())}
    result = shapes[canvas].apply_async()
    importlib.import_module("groupcast._children").store_children(result)
    if canvas == "chain":
        last, children = result, []
        while last is not None:
            children.insert(0, last.id)
            last = last.parent
        return {"id": result.id, "tasks": children}
    children = result if canvas == "group" else result.parent
    return {"id": result.id, "tasks": [child.id for child in children]}


@worker_ready.connect
def ready(**_):
    steps.rpush("ready", 1)


def work():
    options = ["--loglevel=ERROR", "--without-gossip", "--without-mingle", "--concurrency=1"]
    app.worker_main(["worker", *options, *(["-E"] if OPTIONS["events"] else [])])


def kill(worker):
    """Ends a worker and the processes that carry out its tasks, without a warning."""
    children = pathlib.Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text()
    for process in (worker.pid, *map(int, children.split())):
        os.kill(process, signal.SIGKILL)
    worker.wait()


def started_worker():
    """A worker that is ready."""
    options = json.dumps({**OPTIONS, "role": "worker"})
    command = [OPTIONS["python"] or sys.executable, "-B", os.path.abspath(__file__), options]
    worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    steps.blpop("ready", timeout=60)
    return worker


def serve():
    worker = started_worker()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "step" in request:
            steps.rpush(f"step:{request['step']}", 1)
        elif "recorded" in request:
            recorded = [json.loads(each) for each in steps.lrange("recorded", 0, -1)]
            print(json.dumps(recorded), flush=True)
        elif "kill" in request:
            kill(worker)
            worker = started_worker()
            print(json.dumps({"killed": True}), flush=True)
        elif "canvas" in request:
            print(json.dumps(start(request["canvas"], request["count"])), flush=True)
        else:
            kwargs, task_id = request.get("kwargs", {}), request.get("id")
            sent = app.send_task(request["task"], kwargs=kwargs, task_id=task_id)
            print(json.dumps({"id": sent.id}), flush=True)
    kill(worker)


if OPTIONS["role"] == "worker":
    work()
else:
    serve()
