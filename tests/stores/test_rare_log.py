"""Warnings that are logged at most once a minute."""

from __future__ import annotations

import logging

import pytest

from pushserver_channels.stores import rare_log
from pushserver_channels.stores.rare_log import RareLog


def test_one_line_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each line has the number of all events so far."""
    now = 1000.0
    monkeypatch.setattr(rare_log.time, "monotonic", lambda: now)
    log = RareLog(logging.getLogger("rare"))
    for _ in range(3):
        log.warn("%s is full (%d so far)", "a store")
    now += 59.9
    log.warn("%s is full (%d so far)", "a store", count=5)
    now += 0.1
    log.warn("%s is full (%d so far)", "a store")
    assert caplog.messages == [
        "a store is full (1 so far)",
        "a store is full (9 so far)",
    ]
