"""A rolling restart of four processes behind nginx, with a store in Redis."""

from __future__ import annotations

import pytest

from .restarting import restart_all


@pytest.mark.process
@pytest.mark.left_to_all("rolling restarts behind nginx")
async def test_a_rolling_restart_loses_nothing() -> None:
    """Streams, polls and publishers are sent no 502, and no message is lost.

    A publisher may meet a process that stops at that moment: its answer says so.
    """
    result = await restart_all(clients=100, channels=5, interval=0.5, drain=1)
    assert len(result.restarts) == 4
    assert result.messages
    assert (result.lost, result.wrong, result.faults) == (0, 0, {})
    assert result.received == result.messages * 20
    posts = {each for each in result.statuses if each.startswith("POST")}
    assert posts <= {"POST 201", "POST 202"}
