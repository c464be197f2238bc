from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from pushserver_channels.hub import hubs

from .exchanges import until_idle


@pytest.fixture(autouse=True)
def fresh_hubs() -> Iterator[None]:
    """Start each test without channels."""
    hubs.reset()
    yield
    hubs.reset()


@pytest.fixture
async def nothing_left(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """Fail if a test leaves a waiter, a task, or a complaint of the event loop."""
    yield
    await until_idle()
    assert [hub.waiting for hub in hubs._hubs.values() if hub.waiting] == []
    # Complaints about tasks that nobody asked come with the end of the task.
    await asyncio.sleep(0)
    complaints = [each for each in caplog.records if each.name == "asyncio"]
    assert [each.getMessage() for each in complaints] == []
    assert logging.getLogger("asyncio").isEnabledFor(logging.ERROR)
