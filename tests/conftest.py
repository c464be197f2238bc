from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from .servers import ServerProcess, daphne

# Hooks and options that have to be known before the folders are read.
pytest_plugins = ("tests.tiers", "tests.conformance.summary")


def pytest_collection_finish() -> None:
    """Leave what is there now out of garbage collections.

    Modules and thousands of collected tests make each one take most of a second.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """A real Daphne with memory store; tests tell themselves apart by channel id."""
    with daphne() as process:
        yield process
