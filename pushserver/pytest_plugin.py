"""Fixtures for pytest, which finds them by itself where the package is installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _forget_sent_updates() -> None:
    """Begin each test without messages; pytest-django does so for ``mail.outbox``."""
    recorder = sys.modules.get("pushserver.publishers.locmem")
    if recorder is not None:  # Otherwise nothing was published.
        recorder.outbox.clear()


@pytest.fixture
def sent_updates() -> Any:
    """The messages that were published in the test, oldest first."""
    from pushserver.test import sent_updates

    return sent_updates


@pytest.fixture
def push_live_server(transactional_db: None) -> Iterator[str]:
    """The URL of a server in this process that serves the site and its push locations.

    What is published is recorded in ``sent_updates`` and sent to the pages that wait.
    All stores are in memory, and empty at the start of each test. Needs pytest-django.
    """
    from django.utils.module_loading import import_string

    with import_string("pushserver_channels.live_server.serving")() as url:
        yield url
