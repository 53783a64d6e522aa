#!/usr/bin/env python3
"""Events from RabbitMQ while instances are killed: each once and in order, at which rate and CPU.

    loadtest/rabbitmq.py [--gateway FILE] [--messages 20000] [--kill 1-5] [--libraries a,b]

Each library of `examples/rabbitmq` publishes numbered events, with confirms: once with message ids,
once without. Two instances share the queue, and one of them is killed after 1 to 5 s, again and
again. A browser on a third instance, which has no queue, receives them. With ids each event must
arrive exactly once, in order; without, at least once. Then aio-pika publishes as many to instances
that live, for the CPU per message: run time of all threads (`/proc/<pid>/task/*/schedstat`) of the
instance that drains, of the browser's and of RabbitMQ, less that of an idle window.

Needs Redis and RabbitMQ, and `make setup` for the libraries. Go is left out where it is absent.
"""

import argparse
import base64
import contextlib
import glob
import hashlib
import hmac
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples/rabbitmq"
PYTHON = str(ROOT / "target/venv/bin/python")
BROKER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
SECRET = "a-secret-of-the-load-test-of-32-bytes-or-more"
IDLE = 3  # seconds of the idle window
PATIENCE = 120  # seconds without an event, after which the rest counts as lost

CONFIGURATION = """
[listen]
public = "127.0.0.1:{public}"
api = "127.0.0.1:{api}"
[auth]
url_parameter = "token"
[[auth.key]]
algorithm = "HS256"
secret = "{secret}"
[layer]
kind = "redis"
url = "redis://127.0.0.1:{redis}"
[limits]
outbox_bytes = "64MiB"
[[limits.group]]
pattern = "*"
capacity = 200000
expiry = "1h"
[[route]]
path = "/ws"
join = ["user_{{sub}}"]
{amqp}
"""


def free_port():
    """One that nobody listens at, below those that Linux gives to outgoing connections."""
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            port = random.randrange(10_000, 30_000)
            probe.bind(("127.0.0.1", port))
            return port


def until(what, condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"timed out waiting for {what}")
        time.sleep(0.02)


def token(sub):
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    claims = {"sub": sub, "exp": int(time.time()) + 3600}
    text = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(claims).encode())
    signature = hmac.digest(SECRET.encode(), text, hashlib.sha256)
    return (text + b"." + part(signature)).decode()


def cpu(pids):
    """Seconds that all threads of these processes have run."""
    total = 0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            try:
                total += int(pathlib.Path(path).read_text().split()[0])
            except (OSError, IndexError):
                pass
    return total / 1e9


class Broker:
    """A RabbitMQ with its own data, name and ports."""

    def __init__(self, folder):
        self.port, epmd = free_port(), free_port()
        conf = f"listeners.tcp.1 = 127.0.0.1:{self.port}\nlog.console = true\nlog.file = false\n"
        (folder / "rabbitmq.conf").write_text(conf)
        (folder / "plugins").write_text("[].\n")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"load-{self.port}@localhost",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "ERL_EPMD_PORT": str(epmd),
        }
        quiet = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
        }
        self.epmd = subprocess.Popen(["epmd", "-address", "127.0.0.1", "-port", str(epmd)], **quiet)
        self.node = subprocess.Popen([BROKER], env=environment, start_new_session=True, **quiet)
        until("RabbitMQ", self.speaks)

    def speaks(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as stream:
                stream.sendall(b"AMQP\0\0\x09\x01")
                return stream.recv(1) == b"\x01"
        except OSError:
            return False

    def pids(self):
        """The script and the virtual machine that it started."""
        found = subprocess.run(["pgrep", "-s", str(self.node.pid)], capture_output=True, text=True)
        return found.stdout.split()

    def stop(self):
        os.killpg(self.node.pid, signal.SIGKILL)
        self.node.wait()
        self.epmd.kill()
        self.epmd.wait()


class Instance:
    """A gateway that can be killed and started again."""

    def __init__(self, binary, folder, name, redis, amqp=""):
        self.binary, self.name = binary, name
        self.public, self.api = free_port(), free_port()
        self.file, self.log = folder / f"{name}.toml", folder / f"{name}.log"
        text = CONFIGURATION.format(
            public=self.public, api=self.api, secret=SECRET, redis=redis, amqp=amqp
        )
        self.file.write_text(text)
        self.process = None
        self.start()

    def start(self):
        with self.log.open("a") as log:
            command = [self.binary, "serve", "--config", str(self.file)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def is_ready(self):
        if self.process.poll() is not None:
            sys.exit(f"{self.name} ended:\n{self.log.read_text()[-2000:]}")
        try:
            with socket.create_connection(("127.0.0.1", self.api), 1) as stream:
                stream.sendall(b"GET /readyz?strict HTTP/1.0\r\n\r\n")
                return b" 200 " in stream.recv(64)
        except OSError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait()


class Browser(threading.Thread):
    """A WebSocket that keeps what it is sent."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.stream = socket.create_connection(("127.0.0.1", port))
        self.input = self.stream.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        head = (
            f"GET /ws?token={token('load')} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        )
        head += (
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self.stream.sendall(head.encode())
        answer = self.input.readline()
        assert b" 101 " in answer, answer
        while self.input.readline() != b"\r\n":
            pass
        self.received, self.latest = {}, time.monotonic()
        self.start()

    def frame(self):
        head = self.input.read(2)
        if len(head) < 2:
            raise EOFError("the browser's connection ended")
        length = head[1] & 127
        if length == 126:
            (length,) = struct.unpack("!H", self.input.read(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self.input.read(8))
        return head[0] & 15, self.input.read(length)

    def run(self):
        while True:
            opcode, payload = self.frame()
            if opcode == 9:  # answered by a masked pong
                self.stream.sendall(bytes([0x8A, 0x80 | len(payload)]) + bytes(4) + payload)
            elif opcode == 8:
                raise EOFError(f"the browser was closed: {payload!r}")
            elif opcode == 1:
                event = json.loads(payload)
                self.received.setdefault(event["run"], []).append(event["n"])
                self.latest = time.monotonic()

    def waits_for(self, run, count):
        """Until all numbers came, or nothing comes any more."""
        started = time.monotonic()
        while len(self.received.get(run, ())) < count or len(set(self.received[run])) < count:
            if time.monotonic() - max(self.latest, started) > PATIENCE:
                break
            time.sleep(0.05)
        return self.received.get(run, [])


def publishers(wanted):
    commands = {
        "pika": [PYTHON, "-B", "publish_pika.py"],
        "aio-pika": [PYTHON, "-B", "publish_aio_pika.py"],
        "kombu": [PYTHON, "-B", "publish_kombu.py"],
        "celery": [PYTHON, "-B", "publish_celery.py"],
        "amqplib": ["node", "publish.mjs"],
    }
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go:
        commands["amqp091-go"] = [go, "run", "."]
    elif "amqp091-go" in wanted:
        print("SKIPPED: there is no Go here, so amqp091-go is not measured", flush=True)
    return {name: commands[name] for name in wanted if name in commands}


def publish(name, command, broker, run, count, with_ids):
    """Runs a publisher. Returns how long it took."""
    lines = []
    for n in range(count):
        line = {"key": "user_load", "event": {"type": "load", "run": run, "n": n, "pad": "x" * 100}}
        lines.append(json.dumps(line | ({"id": f"{run}-{n}"} if with_ids else {})))
    path = "//" if name in ("kombu", "celery") else "/"
    environment = os.environ | {"AMQP_URL": f"amqp://guest:guest@127.0.0.1:{broker.port}{path}"}
    folder = EXAMPLES / "go" if name == "amqp091-go" else EXAMPLES
    started = time.monotonic()
    text = "\n".join(lines) + "\n"
    quiet = {"text": True, "check": True, "stdout": subprocess.DEVNULL}
    subprocess.run(command, cwd=folder, env=environment, input=text, **quiet)
    return time.monotonic() - started


class Killer(threading.Thread):
    """Kills one of the instances after a while, starts it again, and so on."""

    def __init__(self, instances, span, dice):
        super().__init__(daemon=True)
        self.instances, self.span, self.dice = instances, span, dice
        self.kills, self.ended = 0, threading.Event()
        self.start()

    def run(self):
        while not self.ended.wait(self.dice.uniform(*self.span)):
            instance = self.dice.choice(self.instances)
            instance.kill()
            self.kills += 1
            instance.start()

    def stop(self):
        self.ended.set()
        self.join()
        for instance in self.instances:
            until(instance.name, instance.is_ready)
        return self.kills


def with_kills(options, broker, browser, instances, dice):
    """Every library, with and without ids. Returns whether all was as promised."""
    sound = True
    print(f"{'library':<12}{'ids':<5}{'published/s':>12}{'kills':>7}{'repeated':>10}  result")
    for name, command in publishers(options.libraries.split(",")).items():
        for with_ids in (True, False):
            run = f"{name}-{'ids' if with_ids else 'plain'}"
            killer = Killer(instances, options.span, dice)
            seconds = publish(name, command, broker, run, options.messages, with_ids)
            numbers = browser.waits_for(run, options.messages)
            kills = killer.stop()
            missing = options.messages - len(set(numbers))
            repeated = len(numbers) - len(set(numbers))
            in_order = numbers == sorted(numbers)
            good = missing == 0 and (not with_ids or (repeated == 0 and in_order))
            promise = "each once, in order" if with_ids else "each at least once"
            result = promise if good else f"BROKEN: {missing} missing, in order: {in_order}"
            rate = options.messages / seconds
            yes = "yes" if with_ids else "no"
            print(f"{name:<12}{yes:<5}{rate:>12.0f}{kills:>7}{repeated:>10}  {result}", flush=True)
            sound &= good
    return sound


def costs(options, broker, browser, instances, listener):
    """CPU per message while nobody is killed."""
    parts = {
        "draining instances": [instance.process.pid for instance in instances],
        "browser's instance": [listener.process.pid],
        "RabbitMQ": broker.pids(),
    }

    def sample():
        return {part: cpu(pids) for part, pids in parts.items()}

    command = publishers(["aio-pika"])["aio-pika"]
    for with_ids in (True, False):
        before = sample()
        time.sleep(IDLE)
        begin = sample()
        run, started = f"costs-{with_ids}", time.monotonic()
        publish("aio-pika", command, broker, run, options.messages, with_ids)
        browser.waits_for(run, options.messages)
        seconds = time.monotonic() - started
        end = sample()
        ids = "with" if with_ids else "without"
        print(f"\n{options.messages / seconds:.0f} messages/s {ids} ids:")
        for part in parts:
            idle = (begin[part] - before[part]) / IDLE * seconds
            each = (end[part] - begin[part] - idle) / options.messages * 1e6
            print(f"  {part:<20}{each:>8.1f} µs of CPU per message", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gateway", default=str(ROOT / "target/release/groupcast"))
    parser.add_argument("--messages", type=int, default=20000)
    parser.add_argument("--kill", default="1-5", help="seconds between two kills")
    parser.add_argument("--libraries", default="pika,aio-pika,kombu,celery,amqplib,amqp091-go")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--no-costs", action="store_true")
    options = parser.parse_args()
    options.span = tuple(float(part) for part in options.kill.split("-"))
    print(f"seed {options.seed}", flush=True)
    # Under /var/tmp: RabbitMQ fsyncs, which /tmp in memory would hide.
    with tempfile.TemporaryDirectory(dir="/var/tmp", ignore_cleanup_errors=True) as text:
        folder, redis_port = pathlib.Path(text), free_port()
        redis_command = [
            "redis-server",
            "--port",
            str(redis_port),
            "--save",
            "",
            "--daemonize",
            "no",
        ]
        redis = subprocess.Popen(redis_command, stdout=subprocess.DEVNULL, cwd=folder)
        broker, running = Broker(folder), []
        try:
            amqp = f'[amqp]\nurl = "amqp://guest:guest@127.0.0.1:{broker.port}//?heartbeat=2"'
            for name in ("one", "two"):
                running.append(Instance(options.gateway, folder, name, redis_port, amqp))
            instances = list(running)
            listener = Instance(options.gateway, folder, "listener", redis_port)
            running.append(listener)
            for instance in running:
                until(instance.name, instance.is_ready)
            browser = Browser(listener.public)
            sound = with_kills(options, broker, browser, instances, random.Random(options.seed))
            if not options.no_costs:
                costs(options, broker, browser, instances, listener)
        finally:
            for instance in running:
                instance.kill()
            broker.stop()
            redis.kill()
            redis.wait()
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    main()
