"""Waiting for a state, in place of sleeping for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from inspect import isawaitable
from typing import Any

#: Seconds after which a state will not come any more, however slow the machine is.
PATIENCE = 30.0


def wait_until(condition: Callable[[], Any], timeout: float = PATIENCE) -> Any:
    """Return what a condition answers, as soon as it is true; fail after seconds."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.01)
    raise AssertionError(f"{condition} was not true within {timeout} seconds")


async def until(
    condition: Callable[[], Any], timeout: float = PATIENCE, interval: float = 0.005
) -> Any:
    """Return what a condition answers, as soon as it is true, and fail after seconds.

    Args:
        condition: What it returns is awaited if it can be.
        timeout: Seconds after which it fails.
        interval: Seconds between two tries, in which the event loop goes on.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while loop.time() < deadline:
        answer = condition()
        if isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        await asyncio.sleep(interval)
    raise AssertionError(f"{condition} was not true within {timeout} seconds")
