from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count

import pytest
from django.test import override_settings

from pushserver_channels.presence.layer import (
    exchange,
    learning,
    room,
    rooms,
    signals,
    store,
    view,
)
from pushserver_channels.presence.members import PresenceLimits

from .processes import MakeProcess, Process

_groups = (f"presence {number}" for number in count())

#: Times of presence over a layer, in seconds, shorter than the real ones.
TIMES = {
    "BEAT": 0.05,
    "TIMEOUT": 1,
    "PART_INTERVAL": 0.0025,
    "LAG": 0.2,
    "MAX_SILENCE": 0.075,
    "PATIENCE": 0.4,
    "INTERVAL": 0.05,
}


@pytest.fixture
async def make(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MakeProcess]:
    """Make processes in one group."""
    for module in (exchange, learning, room, rooms, signals, store, view):
        for name, seconds in TIMES.items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, seconds)
    group = next(_groups)
    made = []

    def make(grace: float = 0.1, limit: int = 1000) -> Process:
        made.append(Process(group, PresenceLimits(grace, grace, limit)))
        return made[-1]

    layers = {"default": {"BACKEND": "tests.server.presence.layer.lossy.LossyLayer"}}
    with override_settings(CHANNEL_LAYERS=layers):
        yield make
        for each in made:
            await each.store.aclose()
