"""Fixtures, which pytest finds by the package's entry point."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from groupcast._recording import RecordingLayer


@pytest.fixture
def groupcast_recorder() -> Iterator[RecordingLayer]:
    """Records what the test sends; nothing reaches a gateway."""
    from groupcast._recording import RecordingLayer  # Django, only if a test wants it

    with RecordingLayer() as recorder:
        yield recorder


@pytest.fixture
def groupcast_sent(groupcast_recorder: RecordingLayer) -> RecordingLayer:
    """The same, by its older name."""
    return groupcast_recorder
