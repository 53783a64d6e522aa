"""Sends as Celery's prefork workers do: the real library, one line in each process.

The one argument is JSON, see DEFAULTS. Lines on stdout are JSON: `{"ready": n}` when all processes
stand, `{"sent": n}` each second of waiting for the end, and the summary. With `wait` the first line
on stdin starts the sending; with `events` 0 the next one ends it, after one more round through all
groups.
"""

import json
import logging
import multiprocessing
import queue
import sys
import time

import redis
from asgiref.sync import async_to_sync
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

DEFAULTS = {
    "url": "",
    "layer": "core",  # or "pubsub"
    "config": {},  # more of CHANNEL_LAYERS["default"]["CONFIG"]
    "groups": ["usuario_7"],
    "channels": [],  # instead of groups: `send` to these, numbered in the same way
    "processes": 4,
    "first_sender": 0,  # the number of the first process
    "events": 0,  # of each process, to its groups in turn; 0 = until asked to stop
    "clocks": [0],  # seconds that the processes' clocks are wrong by, in turn
    "pause": 0,  # seconds between two events of a process
    "below": 0,  # waits until the group's mailboxes hold fewer than this; 0 = never waits
    "wait": False,
}


def layer_of(options):
    """The layer, configured as in Django's settings."""
    kind = {"core": RedisChannelLayer, "pubsub": RedisPubSubChannelLayer}[options["layer"]]
    return kind(hosts=[options["url"]], **options["config"])


class OverCapacity(logging.Handler):
    """Counts the messages that the library logs as dropped; its caller gets no error."""

    def __init__(self):
        super().__init__(logging.INFO)
        self.count = 0
        logger = logging.getLogger("channels_redis.core")
        logger.addHandler(self)
        logger.setLevel(logging.INFO)

    def emit(self, record):
        self.count += 1


class Mailboxes:
    """Keeps a sender from overrunning the boxes of a group, by looking before it writes."""

    def __init__(self, options):
        self.prefix = options["config"].get("prefix", "asgi")
        self.below = options["below"]
        self.redis = redis.Redis.from_url(options["url"])
        self.known = {}

    def wait(self, group):
        while any(self.redis.zcard(box) >= self.below for box in self.boxes(group)):
            time.sleep(0.002)

    def boxes(self, group):
        if group not in self.known:
            members = self.redis.zrange(f"{self.prefix}:group:{group}", 0, -1)
            names = {member.decode().split("!")[0] for member in members}
            self.known[group] = [f"{self.prefix}{name}!" for name in names]
        return self.known[group]


def accepted(to_name, name, message):
    """Whether Redis took a message. If it refused, nothing was written and it may be sent again."""
    try:
        to_name(name, message)
    except (redis.exceptions.OutOfMemoryError, redis.exceptions.ReadOnlyError):
        return False
    except redis.exceptions.ResponseError as error:
        if "NOREPLICAS" in str(error):
            return False
        raise
    return True


def send(options, sender, start, stop, sent, summaries):
    """One process: numbers its events for each group, from 1."""
    offset = options["clocks"][sender % len(options["clocks"])]
    real = time.time
    time.time = lambda: real() + offset
    over = OverCapacity()
    layer = layer_of(options)
    boxes = Mailboxes(options) if options["below"] else None
    names = options["channels"] or options["groups"]
    to_name = async_to_sync(layer.send if options["channels"] else layer.group_send)
    numbers = dict.fromkeys(names, 0)

    def one(name):
        if boxes:
            boxes.wait(name)
        numbers[name] += 1
        message = {"type": "paso", "s": sender, "n": numbers[name]}
        while not accepted(to_name, name, message):
            time.sleep(0.02)
        with sent.get_lock():
            sent.value += 1

    start.wait()
    count = 0
    while count < options["events"] if options["events"] else not stop.is_set():
        one(names[count % len(names)])
        count += 1
        if options["pause"]:
            time.sleep(options["pause"])
    if not options["events"]:
        for name in names:
            one(name)
    summaries.put({"sender": sender, "numbers": numbers, "over_capacity": over.count})


def main():
    options = DEFAULTS | json.loads(sys.argv[1])
    fork = multiprocessing.get_context("fork")
    start, stop, sent, summaries = fork.Event(), fork.Event(), fork.Value("q", 0), fork.Queue()
    shared = (start, stop, sent, summaries)
    senders = [
        fork.Process(target=send, args=(options, n, *shared), daemon=True)
        for n in numbered(options)
    ]
    for process in senders:
        process.start()
    emit({"ready": len(senders)})
    if options["wait"]:
        listen(senders)
    since = time.monotonic()
    start.set()
    if not options["events"]:
        listen(senders)
        stop.set()
    gathered = []
    while len(gathered) < len(senders):
        try:
            gathered.append(summaries.get(timeout=1))
        except queue.Empty:
            emit({"sent": sent.value})
    for process in senders:
        process.join()
    emit({
        "sent": sent.value,
        "seconds": time.monotonic() - since,
        "over_capacity": sum(summary["over_capacity"] for summary in gathered),
        "numbers": {summary["sender"]: summary["numbers"] for summary in gathered},
    })


def listen(senders):
    """Waits for a line; if its standard input ends without one, so do the senders."""
    if not sys.stdin.readline():
        for process in senders:
            process.kill()
        sys.exit("standard input ended")


def numbered(options):
    first = options["first_sender"]
    return range(first, first + options["processes"])


def emit(line):
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
