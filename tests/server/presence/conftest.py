from __future__ import annotations

from collections.abc import Iterator

import pytest

from pushserver_channels.presence import registry
from pushserver_channels.presence.telling import Teller
from tests.server.streams import serving

from .visitors import Serving


@pytest.fixture
def serve() -> Iterator[Serving]:
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
    with serving(**options) as serve:
        yield serve


@pytest.fixture(autouse=True)
def fresh_teller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send signals as a process does that has just started."""
    monkeypatch.setattr(registry, "teller", Teller())
