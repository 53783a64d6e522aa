#!/usr/bin/env python3
"""Records what the real channels_redis writes to Redis for a group_send, or checks the recording.

    record.py           writes group_send.json anew
    record.py --check   exits with 1 if the library writes anything other than the recording

The library talks to a real redis-server through a proxy that records the bytes of both directions.
Clock and random source are frozen. A turn is all that the library writes before it waits for an
answer, so the recording also shows what it pipelines. Needs channels_redis, redis-py and
redis-server.
"""

import asyncio
import json
import pathlib
import random
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from unittest import mock

from channels_redis.core import RedisChannelLayer

RECORDING = pathlib.Path(__file__).with_name("group_send.json")

# Nothing more comes in a turn once nothing came for so long, seconds. On a busy machine it may come
# later all the same, and a turn look like two: so a check tries again before it reports a change.
QUIET = 0.05
LOOKS = 5

BOX = "groupcast.groupcast.5!"

CASES = [
    {
        "name": "one member, as a gateway makes it",
        "members": [BOX + "usuario_7"],
        "message": {"type": "imagen_procesada", "imagen_id": 42, "ok": True},
    },
    {
        "name": "several members in one mailbox, beside consumers and a plain channel",
        "now": 1700000000.0,
        "members": [
            BOX + "usuario_7",
            BOX + "usuario_7_movil",
            "specific." + "0" * 32 + "!" + "1" * 32,
            "tareas",
        ],
        "message": {
            "type": "venta",
            "titulo": "ñandú " + "a" * 40,
            "mensaje": "b" * 300,
            "monto": -70000,
            "nota": None,
            "leida": False,
        },
    },
    {
        "name": "settings of a project",
        "now": 1700000000.1234567,
        "settings": {
            "prefix": "tienda",
            "capacity": 1500,
            "expiry": 10,
            "group_expiry": 3600,
            "random_prefix_length": 4,
        },
        "members": [BOX + "usuario_7"],
        "message": {
            "type": "aviso",
            "numeros_grandes": 5_000_000_000,
            "pequenos": 255,
            "lista": [1.5, {"a": {}}],
        },
    },
    {
        "name": "a full mailbox",
        "settings": {"capacity": 1},
        "members": [BOX + "usuario_7"],
        "message": {"type": "aviso"},
        "sends": 2,
    },
    {"name": "nobody there", "members": [], "message": {"type": "aviso"}},
]


class Proxy:
    """Passes one connection on, in turns."""

    def __init__(self, redis):
        self.redis = redis
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.turns = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        client, _ = self.listener.accept()
        server = socket.create_connection(("127.0.0.1", self.redis))
        while written := until_quiet(client):
            server.sendall(written)
            answer = until_quiet(server)
            self.turns.append((written, answer))
            client.sendall(answer)


def until_quiet(peer):
    data = peer.recv(1 << 20)
    while data and select.select([peer], [], [], QUIET)[0]:
        more = peer.recv(1 << 20)
        if not more:
            break
        data += more
    return data


def record(case, redis):
    proxy = Proxy(redis)
    settings = case.get("settings", {})
    layer = RedisChannelLayer(hosts=[f"redis://127.0.0.1:{proxy.port}"], **settings)
    now, prefixes, setting_up = case.get("now", 1700000000.25), [], len(case["members"])

    def getrandbits(bits):
        prefixes.append(bytes([len(prefixes) + 1]) * (bits // 8))
        return int.from_bytes(prefixes[-1], "big")

    async def sends():
        for member in case["members"]:
            await layer.group_add("usuario_7", member)
        for _ in range(case.get("sends", 1)):
            await layer.group_send("usuario_7", dict(case["message"]))

    clock = mock.patch.object(time, "time", lambda: now)
    with clock, mock.patch.object(random, "getrandbits", getrandbits):
        asyncio.run(sends())
    # The members' ZADD and EXPIRE, after the three turns of opening the connection, do not count.
    turns = proxy.turns[:3] + proxy.turns[3 + 2 * setting_up :]
    return {
        "name": case["name"],
        "settings": settings,
        "now": now,
        "message": list(case["message"].items()),
        "prefixes": [prefix.hex() for prefix in prefixes],
        "sends": case.get("sends", 1),
        "turns": [
            {"written": written.decode("latin-1"), "answer": answer.decode("latin-1")}
            for written, answer in turns
        ],
    }


def script_of(recorded):
    """The text that is evaluated: the same each time, so it is kept once."""
    marker = "\r\n$4\r\nEVAL\r\n$"
    texts = set()
    for case in recorded:
        for turn in case["turns"]:
            if marker in turn["written"]:
                length, rest = turn["written"].split(marker)[1].split("\r\n", 1)
                texts.add(rest[: int(length)])
    (script,) = texts
    for case in recorded:
        for turn in case["turns"]:
            turn["written"] = turn["written"].replace(script, "{script}")
    return script


def record_all():
    with tempfile.TemporaryDirectory() as folder:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        server = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 10
            while True:
                try:
                    redis = socket.create_connection(("127.0.0.1", port))
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
            recorded = []
            for case in CASES:
                redis.sendall(b"FLUSHALL\r\n")
                redis.recv(64)
                recorded.append(record(case, port))
        finally:
            server.terminate()
            server.wait()
    library, client = version("channels_redis"), version("redis")
    return {
        "source": f"written by channels_redis {library} (BSD-3-Clause, (c) Django Software "
        f"Foundation) with redis-py {client}, recorded on the wire by record.py; bytes as latin-1",
        "script": script_of(recorded),
        "cases": recorded,
    }


def main():
    if "--check" not in sys.argv[1:]:
        RECORDING.write_text(json.dumps(record_all(), indent=1) + "\n")
        return 0
    kept = json.loads(RECORDING.read_text())
    for _ in range(LOOKS):
        wrong = differences(kept, record_all())
        if not wrong:
            return 0
    for name in wrong:
        print(f"channels_redis writes otherwise than recorded: {name}", file=sys.stderr)
    return 1


def differences(kept, now):
    """Names of what the library writes otherwise. What Redis answers differs by its release."""
    wrong = ["the script"] if kept["script"] != now["script"] else []
    for old, new in zip(kept["cases"], now["cases"], strict=True):
        written = lambda case: [turn["written"] for turn in case["turns"]]
        if written(old) != written(new):
            wrong.append(old["name"])
    return wrong


if __name__ == "__main__":
    sys.exit(main())
