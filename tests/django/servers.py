"""Processes that tests start: they are ready when a test has them, and end with it."""

import contextlib
import random
import socket
import subprocess
import time


def free_port():
    """One that nobody listens at, below those that Linux gives to outgoing connections."""
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            port = random.randrange(10_000, 30_000)
            probe.bind(("127.0.0.1", port))
            return port


def eventually(look, seconds=20):
    """What `look` finds, once it finds something."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"{look} found nothing in {seconds} s"
        time.sleep(0.02)
    return found


@contextlib.contextmanager
def running(command, log, is_ready, **options):
    """A process whose output goes to the file `log`."""
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, **options)
    try:
        eventually(lambda: is_ready() or process.poll() is not None, 60)
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)
