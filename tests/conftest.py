from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from pushserver import test_environment

from .servers import ServerProcess, daphne

# Hooks and options that pytest needs before it reads the folders.
pytest_plugins = ("tests.tiers", "tests.conformance.summary")


def pytest_collection_finish() -> None:
    """Exclude all existing objects from garbage collections.

    With all modules and tests, each collection would take most of a second.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """A real Daphne with a memory store; each test uses its own channel ids."""
    with daphne() as process:
        yield process


@pytest.fixture(autouse=True, scope="session")
def outside_test_environment() -> Iterator[None]:
    """Let ``send_update()`` send messages, which the tests of a site do not want."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(test_environment, "in_test_environment", lambda: False)
        yield
