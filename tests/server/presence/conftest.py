from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings

from pushserver_channels.presence import base, memory, registry
from pushserver_channels.presence.telling import Teller
from tests.server.exchanges import Site
from tests.server.streams import serving
from tests.tiers import in_tier

from .visitors import Serving

#: Seconds between two messages about a channel; the server has 1.
INTERVAL = 0.2

#: The stores of one process that can have presence.
STORES = ("memory", "channel_layer")


@pytest.fixture(
    params=[in_tier(name, {"memory"}, "presence over a layer") for name in STORES]
)
def serve(request: pytest.FixtureRequest) -> Iterator[Serving]:
    """Return a function that serves locations with presence, with given options."""
    options = {
        "presence": True,
        "presence_grace": 0.1,
        "presence_hidden_grace": 0.4,
        "authorize": "tests.server.presence.visitors.may_listen",
        "separator": ",",
        "timeout": 5,
        "keep_alive": 0,
    }
    layers = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    with override_settings(CHANNEL_LAYERS=layers), serving(**options) as serve:

        def serve_on(store: dict[str, Any] | None = None, **options: Any) -> Site:
            return serve({"type": request.param, **(store or {})}, **options)

        yield serve_on


@pytest.fixture(autouse=True)
def fresh_teller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send signals as a process does that has just started."""
    monkeypatch.setattr(registry, "teller", Teller())


@pytest.fixture(autouse=True)
def short_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell changes more often, so that no test waits a second for each."""
    monkeypatch.setattr(memory, "INTERVAL", INTERVAL)


@pytest.fixture
def real_interval(monkeypatch: pytest.MonkeyPatch, short_interval: None) -> None:
    """Tell changes at most once a second, as the server does."""
    monkeypatch.setattr(memory, "INTERVAL", base.INTERVAL)
