"""Hearing from Daphne that it stops.

Daphne cancels its applications on SIGTERM, and a held request that catches this can
still be answered. But where a client has sent half a request, Daphne fails at the one
connection that has no application yet and cancels nobody; and it waits for none of them
any more once one has ended by its cancellation. So the push server asks the reactor to
be told as well.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable


def call_before_shutdown(stop: Callable[[], Awaitable[None]]) -> None:
    """Have a coroutine function called, and waited for, before Daphne stops.

    Does nothing under other ASGI servers, which have no reactor.
    """
    reactor = sys.modules.get("twisted.internet.reactor")
    if reactor is None or not reactor.running:
        return
    from twisted.internet.defer import Deferred

    reactor.addSystemEventTrigger(
        "before",
        "shutdown",
        lambda: Deferred.fromFuture(asyncio.ensure_future(stop())),
    )
