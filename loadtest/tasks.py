#!/usr/bin/env python3
"""The progress of Celery tasks in browsers: latency and CPU, beside pages that poll for it.

    loadtest/tasks.py [--gateway FILE] [--browsers 1000] [--tasks 5000] [--rate 2] [--seconds 60]

Tasks are written as Celery's Redis back end writes them (GET, then SETEX and PUBLISH in MULTI), by
one process: real workers that call `update_state` so often take more than this machine. Each
browser watches its share of the tasks. The latency of an update is from its writing to its last
byte in the browser, on one clock. CPU is the run time of all threads
(`/proc/<pid>/task/*/schedstat`), less that of an idle window with the same connections.

The pages that poll ask a Django view under gunicorn, which reads the result back end as
celery-progress does; needs Django, Celery and gunicorn (`make shop` has them in target/shop-venv).
"""

import argparse
import asyncio
import base64
import contextlib
import glob
import hashlib
import hmac
import json
import os
import pathlib
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
SECRET = "a-secret-of-the-load-test-of-32-bytes-or-more"
TICK = 0.01  # seconds between two bursts of updates
IDLE = 5  # seconds of the idle window
HANDSHAKES = 50  # at a time
POLLERS = 16  # connections of the pages that poll

CONFIGURATION = """
[auth]
url_parameter = "token"
[[auth.key]]
algorithm = "HS256"
secret = "{secret}"
[[api.key]]
name = "load"
secret = "{secret}"
groups = ["*"]
allow = ["send"]
[celery]
results = "redis://127.0.0.1:{redis}"
[[route]]
path = "/ws/{{page}}/"
join = [{groups}]
allow = "anyone"
"""

SITE = """
import os
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path
from celery import Celery
from celery.result import AsyncResult

settings.configure(SECRET_KEY="x", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, USE_TZ=True,
                   MIDDLEWARE=["django.middleware.common.CommonMiddleware"])
celery = Celery("load", backend=os.environ["LOAD_RESULTS"])

def progress(request, task_id):
    meta = AsyncResult(task_id, app=celery)._get_task_meta()
    return JsonResponse({"state": meta["status"], "details": meta["result"]})

urlpatterns = [path("celery-progress/<str:task_id>/", progress)]
application = get_wsgi_application()
"""


def free_port():
    """One that nobody listens at, below those that Linux gives to outgoing connections."""
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            port = random.randrange(10_000, 30_000)
            probe.bind(("127.0.0.1", port))
            return port


def token(sub):
    """A token of a user, valid for an hour."""
    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    head = part(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    body = part(json.dumps({"sub": str(sub), "exp": int(time.time()) + 3600}).encode())
    mac = hmac.new(SECRET.encode(), f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{part(mac)}"


def cpu(pids):
    """Seconds that the threads of some processes have run."""
    total = 0
    for pid in pids:
        for file in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            with contextlib.suppress(OSError):
                total += int(pathlib.Path(file).read_text().split()[0])
    return total / 1e9


def children(pid):
    return map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def percentile(values, share):
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


def command(*words):
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    text = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
    return b"*%d\r\n" % len(parts) + text


async def connected(port):
    """Waits until something listens."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


# ===== the tasks =====


async def write_updates(port, tasks, rate, seconds):
    """Updates each task `rate` times a second. Returns how many updates were written."""
    reader, writer = await connected(port)
    drain = asyncio.create_task(swallow(reader))
    started, written, total = time.monotonic(), 0, int(tasks * rate * seconds)
    get, keys = b"", [f"celery-task-meta-{task_id(n)}".encode() for n in range(tasks)]
    while written < total:
        due = min(total, int((time.monotonic() - started) * tasks * rate))
        burst = []
        for n in range(written, due):
            key = keys[n % tasks]
            meta = {"current": n // tasks, "total": int(rate * seconds), "at": time.monotonic()}
            value = json.dumps({"status": "PROGRESS", "result": meta, "traceback": None,
                                "children": [], "date_done": None, "task_id": task_id(n % tasks)})
            get = command("GET", key)
            burst += [get, b"*1\r\n$5\r\nMULTI\r\n", command("SETEX", key, 86400, value),
                      command("PUBLISH", key, value), b"*1\r\n$4\r\nEXEC\r\n"]
        written = max(written, due)
        writer.write(b"".join(burst))
        await writer.drain()
        await asyncio.sleep(TICK)
    drain.cancel()
    writer.close()
    return written, time.monotonic() - started


def task_id(n):
    return f"{n // OPTIONS.share}.{n % OPTIONS.share}"


async def swallow(reader):
    while await reader.read(1 << 20):
        pass


# ===== the browsers =====


async def browse(port, page, latencies, gate):
    """One browser: reads frames for as long as it may."""
    async with gate:
        reader, writer = await connected(port)
        writer.write(f"GET /ws/{page}/?token={token(page)} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                     "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in head:
            raise RuntimeError(head.decode())
    seen = 0
    while True:
        first, length = await reader.readexactly(2)
        if length == 126:
            length, = struct.unpack(">H", await reader.readexactly(2))
        elif length == 127:
            length, = struct.unpack(">Q", await reader.readexactly(8))
        payload = await reader.readexactly(length)
        now, kind = time.monotonic(), first & 15
        if kind == 9:  # ping
            writer.write(bytes([0x8A, 0x80 | length, 0, 0, 0, 0]) + payload)
        elif kind == 8:
            raise RuntimeError(f"closed: {payload!r}")
        elif found := re.search(rb'"at": ?([0-9.]+)', payload):
            latencies.append(now - float(found[1]))
        elif b"PENDING" in payload:
            seen += 1
            if seen == OPTIONS.share:
                gate.joined += 1


async def browsers():
    """All of them, in a process of their own: says when all watch, then ends with its stdin."""
    latencies = []
    gate = asyncio.Semaphore(HANDSHAKES)
    gate.joined = 0
    pages = [asyncio.create_task(browse(OPTIONS.port, page, latencies, gate))
             for page in range(OPTIONS.browsers)]
    while gate.joined < OPTIONS.browsers:
        done = [page for page in pages if page.done()]
        if done:
            done[0].result()
        await asyncio.sleep(0.1)
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    seen = -1
    while seen != len(latencies):  # what is under way still counts
        seen = len(latencies)
        await asyncio.sleep(1)
    failed = sum(page.done() for page in pages)
    latencies.sort()
    print(json.dumps({"delivered": len(latencies), "failed": failed,
                      "p50": percentile(latencies, 0.5), "p99": percentile(latencies, 0.99)}))
    sys.stdout.flush()
    os._exit(0)


# ===== the pages that poll =====


async def poll(port, seconds, rate):
    """Polls tasks in turn, `rate` times a second in all. Returns the latencies."""
    latencies, begun, number = [], time.monotonic(), 0

    async def page():
        nonlocal number
        reader, writer = await connected(port)
        while (passed := time.monotonic() - begun) < seconds:
            if number > passed * rate:
                await asyncio.sleep(0.002)
                continue
            n, number, asked = number, number + 1, time.monotonic()
            path = f"/celery-progress/{task_id(n % OPTIONS.tasks)}/"
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(re.search(rb"(?i)content-length: (\d+)", head)[1]))
            latencies.append(time.monotonic() - asked)

    await asyncio.gather(*(page() for _ in range(POLLERS)))
    return sorted(latencies)


# ===== the run =====


async def measured(pids, work):
    """CPU seconds of each process while some work goes on, less that of an idle window."""
    idle = {name: cpu(of) for name, of in pids.items()}
    await asyncio.sleep(IDLE)
    idle = {name: (cpu(of) - idle[name]) / IDLE for name, of in pids.items()}
    before, begun = {name: cpu(of) for name, of in pids.items()}, time.monotonic()
    result = await work
    passed = time.monotonic() - begun
    used = {name: cpu(of) - before[name] - idle[name] * passed for name, of in pids.items()}
    return result, used


def tell(what, count, used, p50, p99):
    each = ", ".join(f"{name} {1e6 * seconds / count:.0f} µs" for name, seconds in used.items())
    latency = f"p50 {1e3 * p50:.1f} ms, p99 {1e3 * p99:.1f} ms"
    print(f"{what}: {latency}; CPU of each: {each}", flush=True)


async def push(folder, redis_port, redis):
    """The gateway and its browsers."""
    ports = {"public": free_port(), "api": free_port()}
    groups = ", ".join(f'"task.{{page}}.{n}"' for n in range(OPTIONS.share))
    text = CONFIGURATION.format(secret=SECRET, redis=redis_port, groups=groups)
    listen = f'[listen]\npublic = "127.0.0.1:{ports["public"]}"\napi = "127.0.0.1:{ports["api"]}"\n'
    (folder / "gateway.toml").write_text(listen + text)
    log = (folder / "gateway.log").open("w")
    gateway = subprocess.Popen([OPTIONS.gateway, "serve", "--config", folder / "gateway.toml"],
                               stdout=log, stderr=log)
    try:
        await connected(ports["public"])
    except OSError:
        raise SystemExit((folder / "gateway.log").read_text()[-3000:]) from None
    options = [f"--{name}={getattr(OPTIONS, name)}" for name in ("browsers", "tasks")]
    pages = subprocess.Popen([sys.executable, __file__, f"--port={ports['public']}", *options],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        loop = asyncio.get_running_loop()
        if await loop.run_in_executor(None, pages.stdout.readline) != "ready\n":
            raise SystemExit((folder / "gateway.log").read_text()[-3000:])
        work = write_updates(redis_port, OPTIONS.tasks, OPTIONS.rate, OPTIONS.seconds)
        pids = {"gateway": [gateway.pid], "Redis": [redis.pid]}
        (written, took), used = await measured(pids, work)
        out, _ = await loop.run_in_executor(None, pages.communicate, "")
        result = json.loads(out)
        metrics = f"http://127.0.0.1:{ports['api']}/metrics"
        metrics = urllib.request.urlopen(metrics).read().decode()
    finally:
        pages.kill()
        gateway.send_signal(signal.SIGTERM)
        gateway.wait()
    superseded = sum(float(line.split()[-1]) for line in metrics.splitlines()
                     if "superseded" in line and not line.startswith("#"))
    counts = f"{result['delivered']} delivered, {superseded:.0f} superseded"
    print(f"{OPTIONS.tasks} tasks, {OPTIONS.browsers} browsers: {written} updates in {took:.1f} s, "
          f"{counts}, {result['failed']} browsers failed")
    tell("pushed", written, used, result["p50"], result["p99"])
    return {name: seconds / took for name, seconds in used.items()}


async def polled(folder, redis_port, redis):
    """gunicorn and the pages that ask it."""
    (folder / "load_site.py").write_text(SITE)
    port = free_port()
    environment = os.environ | {"LOAD_RESULTS": f"redis://127.0.0.1:{redis_port}"}
    log = (folder / "site.log").open("w")
    options = ["--workers", "2", "--threads", "4", "--keep-alive", "60"]
    options += ["--bind", f"127.0.0.1:{port}"]
    site = subprocess.Popen([sys.executable, "-m", "gunicorn", "load_site", *options],
                            cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        await connected(port)
        await poll(port, 2, OPTIONS.polls)  # every worker has imported and connected
        work = poll(port, min(OPTIONS.seconds, 20), OPTIONS.polls)
        pids = {"Django": [site.pid, *children(site.pid)], "Redis": [redis.pid]}
        latencies, used = await measured(pids, work)
    finally:
        site.send_signal(signal.SIGTERM)
        site.wait()
    tell(f"polled {len(latencies)} times", len(latencies), used,
         percentile(latencies, 0.5), percentile(latencies, 0.99))
    return {name: seconds / len(latencies) for name, seconds in used.items()}


async def run():
    with tempfile.TemporaryDirectory() as name:
        folder, port = pathlib.Path(name), free_port()
        redis = subprocess.Popen(["redis-server", "--port", str(port), "--save", ""],
                                 cwd=folder, stdout=subprocess.DEVNULL)
        try:
            await connected(port)
            pushed = await push(folder, port, redis)
            print("cores while pushing:", {name: round(of, 2) for name, of in pushed.items()})
            if OPTIONS.polls:
                each = await polled(folder, port, redis)
                all_pages = {name: round(2 * OPTIONS.tasks * of, 1) for name, of in each.items()}
                print(f"cores if {OPTIONS.tasks} pages polled twice a second: {all_pages}")
        finally:
            redis.terminate()
            redis.wait()


def arguments():
    style = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    option = parser.add_argument
    option("--gateway", default=str(ROOT / "target/release/groupcast"), help="the binary")
    option("--browsers", type=int, default=1000)
    option("--tasks", type=int, default=5000, help="a multiple of the browsers")
    option("--rate", type=float, default=2, help="updates of each task per second")
    option("--seconds", type=float, default=60)
    option("--polls", type=float, default=200, help="polls per second in all; 0 = none")
    option("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.share = options.tasks // options.browsers
    return options


if __name__ == "__main__":
    OPTIONS = arguments()
    asyncio.run(browsers() if OPTIONS.port else run())
