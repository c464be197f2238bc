from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server import rules
from tests.server.streams import serving

from .subscribing import Serving


@pytest.fixture
def serve() -> Iterator[Serving]:
    """Return a function that serves both kinds of locations with given options."""
    with serving(separator=",", timeout=5, keep_alive=0) as serve:
        yield serve


@pytest.fixture(autouse=True)
def fresh_rules() -> Iterator[None]:
    """Forget what the site's functions have recorded."""
    rules.calls.clear()
    rules.banned.clear()
    rules.gate.set()
    yield
    rules.gate.set()
