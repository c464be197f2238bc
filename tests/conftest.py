from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from .servers import ServerProcess, daphne

# How long an example takes depends on what else the machine does.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """A real Daphne with memory store; tests tell themselves apart by channel id."""
    with daphne() as process:
        yield process
