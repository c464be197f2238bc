from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pushserver_channels.counters import counters
from tests.server.exchanges import Serve, Site
from tests.server.streams import build_settings

#: The locations that show how a process is.
MONITORING = (
    {"type": "metrics", "url": "/metrics"},
    {"type": "health", "url": "/health"},
)


@pytest.fixture(autouse=True)
def fresh_counters() -> Iterator[None]:
    """Start with counters at zero."""
    counters.reset()
    yield
    counters.reset()
    counters.is_timing = False


@pytest.fixture
def monitored(serve: Serve) -> Serve:
    """Return a function that serves a site whose state is shown."""

    def monitored(
        store: dict[str, Any] | None = None,
        publisher: dict[str, Any] | None = None,
        subscriber: dict[str, Any] | None = None,
        monitoring: dict[str, Any] | None = None,
        **others: Any,
    ) -> Site:
        conf = build_settings(store, publisher, **(subscriber or {}))
        more = [{**each, **(monitoring or {})} for each in MONITORING]
        locations = [*conf["locations"], *more]
        return serve(store=conf["store"], **{**others, "locations": locations})

    return monitored
