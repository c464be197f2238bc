"""Wait for a state instead of sleeping for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from inspect import isawaitable
from typing import Any

#: Seconds to wait for a state; long enough for a slow machine.
PATIENCE = 30.0


def wait_until(condition: Callable[[], Any], timeout: float = PATIENCE) -> Any:
    """Return a condition's result as soon as it is true; fail after the timeout."""
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
    """Return a condition's result as soon as it is true; fail after the timeout.

    Args:
        condition: A function; its result is awaited if it is awaitable.
        timeout: Seconds until it fails.
        interval: Seconds between two calls, in which the event loop runs.
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
