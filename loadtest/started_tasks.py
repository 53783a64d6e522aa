#!/usr/bin/env python3
"""Tasks that browsers start: how many a second, at which cost, and whether each is done once.

    loadtest/started_tasks.py [--gateway FILE] [--rate 1000] [--seconds 20] [--browsers 100]

Browsers call at a fixed rate; the gateway puts each task into a Redis and answers with its id. A
real worker of Celery carries them out, and counts by id. The latency of a call is from its writing
to its answer. Needs Celery (`make shop` has it in target/shop-venv).
"""

import argparse
import asyncio
import json
import os
import pathlib
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

import tasks
from tasks import ROOT, SECRET, command, connected, free_port, measured, percentile, token

TICK = 0.01  # seconds between two bursts of calls
PATIENCE = 300  # seconds in which the worker has to empty the queue

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
[limits]
groups_per_connection = 100000
frames_per_second = 10000
frame_burst = 10000
[celery]
results = "redis://127.0.0.1:{redis}/1"
broker = "redis://127.0.0.1:{redis}/0"
[[task]]
call = "work"
name = "work"
arguments = {{ n = "integer" }}
per_minute = 10000
concurrent = 10000
[[grant]]
calls = ["work"]
[[route]]
path = "/ws/"
call_errors = true
"""

WORKER = """
import os
import celery, redis
url = os.environ["LOAD_REDIS"]
app = celery.Celery("work", broker=url + "/0", backend=url + "/1")
app.conf.broker_connection_retry_on_startup = True
done = redis.Redis.from_url(url + "/2")

@app.task(name="work", bind=True)
def work(self, n, sub):
    done.hincrby("done", self.request.id, 1)
"""


def frame(text):
    """A text frame of a client; its mask is zero."""
    size = len(text)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size)
    return b"\x81" + length + bytes(4) + text


class Browser:
    """One that counts its answers; those of one connection come in order."""

    def __init__(self, latencies, started, errors):
        self.latencies, self.started, self.errors = latencies, started, errors
        self.asked = []

    async def connect(self, port, sub):
        self.reader, self.writer = await connected(port)
        self.writer.write(
            f"GET /ws/?token={token(sub)} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        head = await self.reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in head:
            raise RuntimeError(head.decode())

    def call(self, n):
        self.asked.append(time.monotonic())
        self.writer.write(frame(json.dumps({"action": "work", "n": n}).encode()))

    async def read(self):
        answered = 0
        while True:
            first, length = await self.reader.readexactly(2)
            if length == 126:
                (length,) = struct.unpack(">H", await self.reader.readexactly(2))
            payload = await self.reader.readexactly(length)
            if first & 15 == 9:
                self.writer.write(bytes([0x8A, 0x80 | length, 0, 0, 0, 0]) + payload)
            elif found := re.fullmatch(rb'\{"task":"([^"]+)"\}', payload):
                self.latencies.append(time.monotonic() - self.asked[answered])
                answered += 1
                self.started.append(found[1].decode())
            elif b'"error"' in payload:
                answered += 1
                self.errors.append(payload)


async def ask(port, database, *words):
    """What a Redis answers to one command, as text."""
    reader, writer = await connected(port)
    writer.write(command("SELECT", database) + command(*words))
    await reader.readline()
    head = await reader.readline()
    text = [head]
    if head[:1] in b"*%":
        for _ in range(int(head[1:]) * (2 if head[:1] == b"%" else 1)):
            size = int((await reader.readline())[1:])
            text.append((await reader.readexactly(size + 2))[:-2])
    writer.close()
    return text


async def call_all(port, options):
    """Calls at the rate; returns when all are answered."""
    latencies, started, errors = [], [], []
    browsers = [Browser(latencies, started, errors) for _ in range(options.browsers)]
    for sub, browser in enumerate(browsers):
        await browser.connect(port, sub)
    readers = [asyncio.create_task(browser.read()) for browser in browsers]
    total, called, begun = int(options.rate * options.seconds), 0, time.monotonic()
    while called < total:
        due = min(total, int((time.monotonic() - begun) * options.rate))
        for n in range(called, due):
            browsers[n % len(browsers)].call(n)
        called = due
        await asyncio.sleep(TICK)
    deadline = time.monotonic() + 30
    while len(started) + len(errors) < total and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    took = time.monotonic() - begun
    for reader in readers:
        reader.cancel()
    return sorted(latencies), started, errors, took


async def run(options):
    with tempfile.TemporaryDirectory() as name:
        folder, redis_port = pathlib.Path(name), free_port()
        redis = subprocess.Popen(["redis-server", "--port", str(redis_port), "--save", ""],
                                 cwd=folder, stdout=subprocess.DEVNULL)
        await connected(redis_port)
        (folder / "work.py").write_text(WORKER)
        public, api = free_port(), free_port()
        listen = f'[listen]\npublic = "127.0.0.1:{public}"\napi = "127.0.0.1:{api}"\n'
        text = CONFIGURATION.format(secret=SECRET, redis=redis_port)
        (folder / "gateway.toml").write_text(listen + text)
        log = (folder / "log").open("w")
        gateway = subprocess.Popen([options.gateway, "serve", "--config", folder / "gateway.toml"],
                                   stdout=log, stderr=log)
        environment = os.environ | {"LOAD_REDIS": f"redis://127.0.0.1:{redis_port}"}
        worker = None
        try:
            await connected(public)
            pids = {"gateway": [gateway.pid], "Redis": [redis.pid]}
            result, used = await measured(pids, call_all(public, options))
            latencies, started, errors, took = result
            waiting = (await ask(redis_port, 0, "LLEN", "celery"))[0].decode().strip(":\r\n")
            print(f"{len(started)} tasks accepted in {took:.1f} s, {len(errors)} refused, "
                  f"{waiting} waiting; {errors[:1]}")
            tasks.tell("each call", max(len(started), 1), used,
                       percentile(latencies, 0.5), percentile(latencies, 0.99))
            begun = time.monotonic()
            worker = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "work", "worker", "--concurrency", "2",
                 "--prefetch-multiplier", "64", "--loglevel", "ERROR"],
                cwd=folder, env=environment, stdout=log, stderr=log)
            while int((await ask(redis_port, 2, "HLEN", "done"))[0][1:]) < len(started):
                if time.monotonic() > begun + PATIENCE:
                    break
                await asyncio.sleep(0.5)
            emptied = time.monotonic() - begun
            counts = (await ask(redis_port, 2, "HGETALL", "done"))[1:]
            done = dict(zip(counts[::2], map(int, counts[1::2])))
            missing = len({one.encode() for one in started} - done.keys())
            twice = sum(count > 1 for count in done.values())
            print(f"carried out in {emptied:.0f} s by one worker: {len(done)}, "
                  f"missing {missing}, more than once {twice}")
            metrics = urllib.request.urlopen(f"http://127.0.0.1:{api}/metrics").read().decode()
            print("\n".join(line for line in metrics.splitlines() if "celery_calls_total{" in line))
            return bool(errors or missing or twice)
        finally:
            for process in (worker, gateway, redis):
                if process:
                    process.send_signal(signal.SIGTERM)
                    process.wait()


def arguments():
    style = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    option = parser.add_argument
    option("--gateway", default=str(ROOT / "target/release/groupcast"), help="the binary")
    option("--rate", type=float, default=1000, help="calls per second in all")
    option("--seconds", type=float, default=20)
    option("--browsers", type=int, default=100, help="each a user of its own")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(run(arguments())))
