#!/usr/bin/env python3
"""What open consoles cost a gateway that delivers: CPU per delivery and p99, beside none.

    loadtest/consoles.py [--gateway FILE] [--browsers 10000] [--consoles 3] [--rate 2000]
                         [--seconds 20] [--rounds 5]

Each browser has a group of its own, so there are as many groups as connections. Events go to the
groups in turn by `POST /batch`. Each round has a window without and one with consoles, which comes
first in every other round. A console reads the stream of snapshots and, each five seconds, a page
of groups and of connections, as the views do. CPU is the run time of all threads of the gateway
(`/proc/<pid>/task/*/schedstat`); latency is from the request to the browser's read, on one clock.
"""

import argparse
import asyncio
import json
import os
import pathlib
import re
import resource
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time

from tasks import SECRET, connected, cpu, free_port, percentile, token

ROOT = pathlib.Path(__file__).resolve().parents[1]
BATCH = 50  # publications of one request
HANDSHAKES = 50  # at a time
LISTS = 5  # seconds between two pages

CONFIGURATION = """
[listen]
public = "127.0.0.1:{public}"
api = "127.0.0.1:{api}"
[connections]
max = 100000
[auth]
url_parameter = "token"
[[auth.key]]
algorithm = "HS256"
secret = "{secret}"
[[api.key]]
name = "load"
secret = "{secret}"
groups = ["*"]
allow = ["send", "read", "console"]
[[route]]
path = "/ws"
join = ["user_{{sub}}"]
"""


# ===== the browsers, in a process of their own =====


async def browse(port, number, latencies, gate):
    async with gate:
        reader, writer = await connected(port)
        writer.write(f"GET /ws?token={token(number)} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                     "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in head:
            raise RuntimeError(head.decode())
        gate.open += 1
    while True:
        first, length = await reader.readexactly(2)
        if length == 126:
            length, = struct.unpack(">H", await reader.readexactly(2))
        payload = await reader.readexactly(length)
        if first & 15 == 9:  # ping
            writer.write(bytes([0x8A, 0x80 | length, 0, 0, 0, 0]) + payload)
        elif found := re.search(rb'"at": ?([0-9.]+)', payload):
            latencies.append(time.monotonic() - float(found[1]))


async def browsers():
    """All of them. Each line of stdin ends a window, whose figures are printed."""
    latencies, gate = [], asyncio.Semaphore(HANDSHAKES)
    gate.open = 0
    pages = [asyncio.create_task(browse(OPTIONS.port, number, latencies, gate))
             for number in range(OPTIONS.browsers)]
    while gate.open < OPTIONS.browsers:
        for page in [page for page in pages if page.done()]:
            page.result()
        await asyncio.sleep(0.1)
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        window = sorted(latencies)
        latencies.clear()
        print(json.dumps({"delivered": len(window), "p99": percentile(window, 0.99)}), flush=True)
    os._exit(0)


# ===== the publisher and the consoles =====


async def ask(reader, writer, method, path, body=b""):
    """One request on a connection that stays open; the body of its answer."""
    head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {SECRET}",
            "Content-Type: application/json", f"Content-Length: {len(body)}", "", ""]
    writer.write("\r\n".join(head).encode() + body)
    head = await reader.readuntil(b"\r\n\r\n")
    answer = await reader.readexactly(int(re.search(rb"(?i)content-length: (\d+)", head)[1]))
    if head.split()[1] not in (b"200", b"202", b"207"):
        raise RuntimeError(answer.decode())
    return answer


async def publish(port, count):
    """Publishes so many events at the rate asked for."""
    reader, writer = await connected(port)
    started, sent = time.monotonic(), 0
    while sent < count:
        due = (time.monotonic() - started) * OPTIONS.rate
        if due - sent < BATCH:
            await asyncio.sleep(0.002)
            continue
        at = time.monotonic()
        one = [{"groups": [f"user_{(publish.next + n) % OPTIONS.browsers}"],
                "event": {"type": "x", "at": at, "text": "x" * 120}} for n in range(BATCH)]
        publish.next += BATCH
        await ask(reader, writer, "POST", "/batch", json.dumps({"publications": one}).encode())
        sent += BATCH
    writer.close()
    return sent


publish.next = 0


async def watch(port, sizes):
    """One console: its stream, and its pages now and then."""
    reader, writer = await connected(port)
    writer.write(f"GET /console/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                 f"Authorization: Bearer {SECRET}\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")

    async def pages():
        other = await connected(port)
        while True:
            await ask(*other, "GET", "/console/groups?rows=100")
            await ask(*other, "GET", "/console/connections?rows=100")
            await asyncio.sleep(LISTS)

    lists = asyncio.create_task(pages())
    try:
        while True:  # the body is chunked
            size = int(await reader.readuntil(b"\r\n"), 16)
            await reader.readexactly(size + 2)
            sizes.append(size)
    finally:
        lists.cancel()
        writer.close()


# ===== the run =====


def resident(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024


async def window(gateway, pages, port, consoles):
    sizes = []
    open_ones = [asyncio.create_task(watch(port, sizes)) for _ in range(consoles)]
    await asyncio.sleep(2)
    before, begun, seen = cpu([gateway.pid]), time.monotonic(), len(sizes)
    sent = await publish(port, OPTIONS.rate * OPTIONS.seconds)
    took = time.monotonic() - begun
    used, snapshots = cpu([gateway.pid]) - before, sizes[seen:]
    memory = resident(gateway.pid)
    for console in open_ones:
        if console.done():
            console.result()
        console.cancel()
    await asyncio.sleep(1)
    pages.stdin.write("\n")
    pages.stdin.flush()
    loop = asyncio.get_running_loop()
    result = json.loads(await loop.run_in_executor(None, pages.stdout.readline))
    if result["delivered"] != sent:
        raise SystemExit(f"{sent} were sent and {result['delivered']} delivered")
    figures = {"cpu": 1e6 * used / sent, "p99": 1e3 * result["p99"], "memory": memory}
    if consoles:
        figures["size"] = statistics.mean(snapshots)
        figures["each_second"] = len(snapshots) / consoles / took
    return figures


async def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="groupcast-consoles-"))
    ports = {"public": free_port(), "api": free_port()}
    (folder / "gateway.toml").write_text(CONFIGURATION.format(secret=SECRET, **ports))
    log = (folder / "gateway.log").open("w")
    gateway = subprocess.Popen([OPTIONS.gateway, "serve", "--config", folder / "gateway.toml"],
                               stdout=log, stderr=log)
    await connected(ports["public"])
    pages = subprocess.Popen([sys.executable, __file__, f"--port={ports['public']}",
                              f"--browsers={OPTIONS.browsers}"], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
    try:
        loop = asyncio.get_running_loop()
        if await loop.run_in_executor(None, pages.stdout.readline) != "ready\n":
            raise SystemExit((folder / "gateway.log").read_text()[-3000:])
        rounds = []
        for number in range(OPTIONS.rounds):
            order = [0, OPTIONS.consoles] if number % 2 == 0 else [OPTIONS.consoles, 0]
            both = {n: await window(gateway, pages, ports["api"], n) for n in order}
            rounds.append((both[0], both[OPTIONS.consoles]))
            tell(number + 1, *rounds[-1])
    finally:
        pages.kill()
        gateway.send_signal(signal.SIGTERM)
        gateway.wait()
    ratio = statistics.median(watched["cpu"] / alone["cpu"] for alone, watched in rounds)
    p99 = [statistics.median(side[at]["p99"] for side in rounds) for at in (0, 1)]
    spread = [min(alone["p99"] for alone, _ in rounds), max(alone["p99"] for alone, _ in rounds)]
    size, each = (statistics.median(w[key] for _, w in rounds) for key in ("size", "each_second"))
    print(f"{OPTIONS.browsers} connections and groups, {OPTIONS.consoles} consoles, median of "
          f"{OPTIONS.rounds}: CPU per delivery x {ratio:.3f}; p99 {p99[0]:.1f} ms without "
          f"({spread[0]:.1f} to {spread[1]:.1f}), {p99[1]:.1f} ms with; a snapshot has "
          f"{size / 1024:.1f} KiB, {each:.2f} a second")


def tell(number, alone, watched):
    print(f"round {number}: CPU {alone['cpu']:.2f} µs without, {watched['cpu']:.2f} µs with; p99 "
          f"{alone['p99']:.1f} and {watched['p99']:.1f} ms; resident {alone['memory']:.0f} and "
          f"{watched['memory']:.0f} MiB", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--gateway", default=ROOT / "target/release/groupcast")
    parser.add_argument("--browsers", type=int, default=10_000)
    parser.add_argument("--consoles", type=int, default=3)
    parser.add_argument("--rate", type=int, default=2000, help="events a second")
    parser.add_argument("--seconds", type=int, default=20, help="of each window")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    OPTIONS = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    asyncio.run(browsers() if OPTIONS.port else main())
