"""Hearing from Daphne that it stops.

Daphne cancels its applications on SIGTERM, and a held request that catches this can
still be answered. But where a client has sent half a request, Daphne fails at the one
connection that has no application yet and cancels nobody; and it waits for none of them
any more once one has ended by its cancellation. So the push server asks the reactor to
be told as well.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Any

logger = logging.getLogger(__name__)

Stop = Callable[[], Awaitable[None]]

_stops: list[Stop] = []


def call_before_shutdown(stop: Stop) -> bool:
    """Have a coroutine function called, and waited for, before Daphne stops.

    They are called in turn, in the order in which they were given. Returns False, and
    does nothing, under other ASGI servers, which have no reactor.
    """
    reactor = sys.modules.get("twisted.internet.reactor")
    if reactor is None or not reactor.running:
        return False
    if not _stops:
        reactor.addSystemEventTrigger("before", "shutdown", _stop)
    _stops.append(stop)
    return True


def _stop() -> Any:
    """Return what Twisted waits for."""
    from twisted.internet.defer import Deferred

    return Deferred.fromFuture(asyncio.ensure_future(_stop_in_turn()))


async def _stop_in_turn() -> None:
    for stop in _stops:
        try:
            await stop()
        except Exception:
            logger.exception("Cannot stop as it should be")
