from __future__ import annotations

from collections.abc import Iterator

import pytest

from pushserver import publishers
from pushserver.publishers import HTTPPublisher

from .small_server import SmallServer, serving


@pytest.fixture
def small() -> Iterator[SmallServer]:
    """A small push server that responds with 202."""
    with serving(SmallServer()) as server:
        yield server


@pytest.fixture(autouse=True)
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPPublisher]:
    """A new publisher without connections of earlier tests."""
    publisher = HTTPPublisher()
    monkeypatch.setattr(publishers, "_http_publisher", lambda: publisher)
    yield publisher
    # If an exception's traceback keeps it, the sockets could be collected before it.
    publisher._exchanges.connections.close()
