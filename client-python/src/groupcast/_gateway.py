"""Requests to the gateway's HTTP API."""

from __future__ import annotations

import json
import os
import threading
import time
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Protocol
from urllib.parse import urlsplit

from groupcast._configuration import setting


class GroupcastError(Exception):
    """The gateway refused a request. `status` is None if it could not be reached.

    `code` is the gateway's word for the problem, such as "bad_group"; `detail` says it in a
    sentence.
    """

    def __init__(self, detail: str, status: int | None = None, code: str = "") -> None:
        super().__init__(detail)
        self.detail, self.status, self.code = detail, status, code


class Recording(Protocol):
    """What takes requests in place of the gateway, in tests."""

    on_commit: bool

    def take(self, method: str, target: str, body: bytes) -> dict[str, Any]:
        """Records one request; returns the answer."""

    def see(self, group: str, message: dict[str, Any]) -> None:
        """Records what Channels' `group_send` sends."""


recordings: list[Recording] = []  # the last one takes all requests


def ask_gateway(method: str, target: str, body: bytes = b"", key: str = "") -> dict[str, Any]:
    """Sends a request to the gateway; repeats it after a 503, within TIMEOUT seconds.

    Of a batch without a key, only what was not accepted is repeated. Raises GroupcastError, and
    ImproperlyConfigured.
    """
    if recordings:
        return recordings[-1].take(method, target, body)
    deadline = time.monotonic() + setting("TIMEOUT")
    while True:
        status, pause, answer = exchange(method, target, body, key, deadline)
        refused = [each for each in answer.get("results", ()) if "problem" in each]
        if status < 300 and not refused:
            return answer
        problem = refused[0]["problem"] if refused else answer
        status = problem.get("status", status)
        if status != 503 or time.monotonic() + pause >= deadline:
            detail = problem.get("detail", f"the gateway answered {status}")
            raise GroupcastError(detail, status, problem.get("code", ""))
        if refused and not key:  # each part of a key is of a place in the whole
            body = rest_of(body, refused)
        time.sleep(pause)


def rest_of(batch: bytes, refused: list[dict[str, Any]]) -> bytes:
    """The batch of what was refused, in order."""
    publications = json.loads(batch)["publications"]
    rest = [{**publications[one["publication"]], "groups": [one["group"]]} for one in refused]
    return json.dumps({"publications": rest}, separators=(",", ":"), ensure_ascii=False).encode()


class Line:
    """An open HTTP connection, of one process and to one address."""

    def __init__(self, owner: tuple[int, str], http: HTTPConnection) -> None:
        self.owner, self.http = owner, http

    def __del__(self) -> None:
        self.http.close()  # with its thread: those of asynchronous code come and go


kept = threading.local()  # per thread: the `line`


def exchange(
    method: str, target: str, body: bytes, key: str, deadline: float
) -> tuple[int, int, dict[str, Any]]:
    """One request and its answer: status, seconds to wait before another, JSON."""
    url = setting("API")
    headers = {"Authorization": f"Bearer {setting('KEY')}", "Content-Type": "application/json"}
    headers.update({"Idempotency-Key": key} if key else {})
    scheme, address, prefix = urlsplit(url)[:3]
    # A forked worker inherits its parent's connection and socket, and must not use them.
    line = getattr(kept, "line", None)
    if line is None or line.owner != (os.getpid(), url):
        http = (HTTPSConnection if scheme == "https" else HTTPConnection)(address)
        kept.line = line = Line((os.getpid(), url), http)
    http = line.http
    is_reused = http.sock is not None
    try:
        http.timeout = max(deadline - time.monotonic(), 0.001)
        if is_reused:
            http.sock.settimeout(http.timeout)
        http.request(method, prefix.rstrip("/") + target, body, headers)
        response = http.getresponse()
        content = response.read()
    except (OSError, HTTPException) as error:
        http.close()
        # The gateway may have closed an idle connection, which is no failure.
        if is_reused and time.monotonic() < deadline:
            return exchange(method, target, body, key, deadline)
        raise GroupcastError(f"the gateway at {url} cannot be reached: {error!r}") from error
    except BaseException:  # Celery's time limit, gevent's Timeout: the answer is still to come
        http.close()
        raise
    is_json = content and "json" in response.headers.get_content_subtype()
    pause = response.headers.get("Retry-After", "")
    return (
        response.status,
        int(pause) if pause.isdigit() else 1,
        json.loads(content) if is_json else {},
    )
