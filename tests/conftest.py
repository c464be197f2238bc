from __future__ import annotations

from collections.abc import Iterator

import pytest

from .servers import ServerProcess, daphne


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """A real Daphne with memory store; tests tell themselves apart by channel id."""
    with daphne() as process:
        yield process
