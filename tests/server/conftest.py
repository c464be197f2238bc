from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.test import override_settings

from pushserver_channels.consumers import long_poll
from pushserver_channels.hub import hubs
from pushserver_channels.routing import get_application

from .exchanges import Serve, Site, django, until_idle
from .passthrough_view import View


@pytest.fixture(autouse=True)
def fresh_hubs() -> Iterator[None]:
    """Reset the hubs before and after each test."""
    hubs.reset()
    yield
    hubs.reset()


@pytest.fixture
async def nothing_left(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """Fail if a test leaves a waiting cursor, a task or an error of asyncio."""
    yield
    await until_idle()
    assert [hub.waiting for hub in hubs if hub.waiting] == []
    # asyncio logs an exception that was never retrieved when its task is freed.
    await asyncio.sleep(0)
    complaints = [each for each in caplog.records if each.name == "asyncio"]
    assert [each.getMessage() for each in complaints] == []
    assert logging.getLogger("asyncio").isEnabledFor(logging.ERROR)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that serves all kinds of locations with given options."""
    changes = ExitStack()

    def serve(
        publisher: dict[str, Any] | None = None,
        subscriber: dict[str, Any] | None = None,
        store: dict[str, Any] | None = None,
        **others: Any,
    ) -> Site:
        subscriber = {"type": "subscriber", "create_on_get": True, **(subscriber or {})}
        conf = {
            "store": {"type": "memory", **(store or {})},
            "locations": [
                {
                    "type": "publisher",
                    "url": "/send-update/([^/]*)",
                    **(publisher or {}),
                },
                {"url": "/updates/([^/]*)", **subscriber},
                {"url": "/interval/([^/]*)", "polling": "interval", **subscriber},
            ],
            **others,
        }
        changes.enter_context(override_settings(PUSH_SERVER=conf))
        return Site(get_application(django))

    with changes:
        yield serve


@pytest.fixture
def watched_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watch clients after 50 ms instead of a second."""
    monkeypatch.setattr(long_poll, "WATCH_AFTER", 0.05)


@pytest.fixture
async def view() -> View:
    return View()
