"""Records in tests what would be sent."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any, Callable
from urllib.parse import unquote, urlsplit

from groupcast._gateway import recordings
from groupcast._group_send import watch_group_send
from groupcast._sending import Event, sub_of


class RecordingLayer:
    """Replaces the gateway in tests: nothing is sent, everything is recorded.

    `sent` has (kind, name, event as browsers get it), where kind is groups, users or connections,
    also of what Channels' `group_send` sends; `joined` has (group, member) of `follow`;
    `disconnected` has subs. Events are recorded at once, since the transaction around a test is
    never committed; with `on_commit=True` they wait for a commit, as in production.

    Of channel layers only that in memory delivers to consumers meanwhile.
    """

    _stop: Callable[[], None] | None = None  # of the outermost, which sees `group_send` for all

    def __init__(self, *, on_commit: bool = False) -> None:
        self.on_commit = on_commit
        self.sent: list[tuple[str, str, Event]] = []
        self.joined: list[tuple[str, str]] = []
        self.disconnected: list[str] = []

    def to_group(self, group: str) -> list[Event]:
        """The events sent to a group."""
        return [event for *to, event in self.sent if to == ["groups", group]]

    def to_user(self, user: Any) -> list[Event]:
        """The events sent to a user (or a `sub`)."""
        return [event for *to, event in self.sent if to == ["users", sub_of(user)]]

    def take(self, method: str, target: str, body: bytes) -> dict[str, Any]:
        """Records one request to the gateway."""
        kind, *rest = [unquote(part) for part in urlsplit(target).path[1:].split("/")]
        content = json.loads(body) if body else {}
        for each in content.get("publications", ()) if kind == "batch" else ():
            self.sent += [("groups", name, each["event"]) for name in each["groups"]]
        if rest[-1:] == ["send"]:
            self.sent.append((kind, rest[0], content))
        elif rest[-1:] == ["close"]:
            self.disconnected.append(rest[0])
        elif method == "PUT" and rest[1:2] == ["members"]:
            self.joined.append((rest[0], rest[2]))
        return {"connections": []}

    def see(self, group: str, message: Event) -> None:
        """Records one `group_send`."""
        self.sent.append(("groups", group, deepcopy(message)))

    def __enter__(self) -> RecordingLayer:  # noqa: PYI034  Self is Python 3.11's
        if not recordings:
            self._stop = watch_group_send(lambda *sent: recordings[-1].see(*sent))
        recordings.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        recordings.remove(self)
        if self._stop is not None:
            self._stop()


class GroupcastTestMixin:
    """For a TestCase: `self.groupcast` records what the test sends."""

    def setUp(self) -> None:
        self.groupcast = RecordingLayer().__enter__()
        self.addCleanup(self.groupcast.__exit__)  # type: ignore[attr-defined]
        super().setUp()  # type: ignore[misc]
