from __future__ import annotations

import asyncio
import logging

import pytest

from pushserver_channels.paced_log import PacedLog
from tests.waiting import until

logger = logging.getLogger(__name__)


async def test_events_are_logged_with_their_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The first event is logged at once, and those of a while in one line after it."""
    log = PacedLog(logger, "%d events, the last %s", 0.05)
    for each in "abc":
        log.add(each)
    assert caplog.messages == ["1 events, the last a"]
    await until(lambda: len(caplog.messages) == 2)
    assert caplog.messages[1] == "2 events, the last c"
    await until(lambda: log._loop is None)
    assert len(caplog.messages) == 2
    log.add("d")
    assert caplog.messages[2:] == ["1 events, the last d"]


def test_other_event_loop(caplog: pytest.LogCaptureFixture) -> None:
    """Events on another event loop are logged, although the first one has ended."""
    log = PacedLog(logger, "%d events")

    async def add() -> None:
        log.add()

    asyncio.run(add())
    asyncio.run(add())
    assert caplog.messages == ["1 events"] * 2
