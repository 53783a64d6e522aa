"""Sees what a test sends by Channels' `group_send`."""

from __future__ import annotations

from functools import wraps
from importlib import import_module
from typing import Any, Callable

from django.conf import settings
from django.utils.module_loading import import_string

IN_MEMORY = "channels.layers.InMemoryChannelLayer"


def layer_classes() -> list[type]:
    """The classes of the configured channel layers, and that of memory; none without Channels."""
    configured = getattr(settings, "CHANNEL_LAYERS", {}).values()
    paths = dict.fromkeys([IN_MEMORY, *(layer["BACKEND"] for layer in configured)])
    try:
        return [import_string(path) for path in paths]
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "channels":
            return []
        raise


def watch_group_send(see: Callable[[str, Any], None]) -> Callable[[], None]:
    """Has `see(group, message)` called for each `group_send`; returns what ends it.

    A layer in memory delivers as before, as consumers under test expect. Any other does not: in
    tests nothing leaves the process. It checks name and message all the same.
    """
    undo: list[Callable[[], None]] = []
    for layer in layer_classes():
        is_local = issubclass(layer, import_string(IN_MEMORY))
        replace(layer, see, undo, delivers=is_local)

    def stop() -> None:
        while undo:
            undo.pop()()

    return stop


def replace(
    layer: type, see: Callable[[str, Any], None], undo: list[Callable[[], None]], *, delivers: bool
) -> None:
    """Replaces `group_send` of a class; what restores it is added to `undo`."""
    own = vars(layer).get("group_send")
    # The layer for pub/sub has no method of this name: it passes on what it is asked for.
    deliver = getattr(layer, "group_send", None)
    valid = import_module("channels.layers").BaseChannelLayer().require_valid_group_name

    async def group_send(self: Any, group: str, message: dict[str, Any]) -> None:
        if not isinstance(message, dict):
            raise AssertionError("Message is not a dict")
        valid(group)
        if not delivers and hasattr(self, "serialize"):
            self.serialize(message)
        see(group, message)
        if delivers and deliver is not None:
            await deliver(self, group, message)

    replaced: Any = layer
    replaced.group_send = wraps(deliver)(group_send) if deliver else group_send
    if own is None:
        undo.append(lambda: delattr(layer, "group_send"))
    else:
        undo.append(lambda: setattr(layer, "group_send", own))
