"""Hearing from the server that it stops, while held requests can still be answered.

Daphne cancels its applications on SIGTERM, and a held request that catches this can
still be answered. But where a client has sent half a request, Daphne fails at the one
connection that has no application yet and cancels nobody; and it waits for none of them
any more once one has ended by its cancellation. So the push server asks the reactor to
be told as well.

Other servers tell applications that they stop by the ASGI protocol ``lifespan``, but
uvicorn and granian do so when the last request has ended, for which they wait, or which
they cut. So with them the push server hears of the signal itself.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from .types import Application, ASGIMessage, Receive, Scope, Send

logger = logging.getLogger(__name__)

Stop = Callable[[], Awaitable[None]]

#: How servers are told to stop.
SIGNALS = (signal.SIGTERM, signal.SIGINT)

_stops: list[Stop] = []


def call_before_shutdown(stop: Stop) -> bool:
    """Have a coroutine function called, and waited for, before Daphne stops.

    They are called in turn, in the order in which they were given. Returns False, and
    does nothing, under other ASGI servers, which have no reactor.
    """
    reactor = _reactor()
    if reactor is None:
        return False
    if not _stops:
        reactor.addSystemEventTrigger("before", "shutdown", _stop)
    _stops.append(stop)
    return True


def _reactor() -> Any:
    """Return Twisted's reactor if one runs, as it does under Daphne."""
    reactor = sys.modules.get("twisted.internet.reactor")
    return reactor if reactor is not None and reactor.running else None


def _stop() -> Any:
    """Return what Twisted waits for."""
    from twisted.internet.defer import Deferred

    return Deferred.fromFuture(asyncio.ensure_future(_call_in_turn(_stops)))


async def wait_for_end(tasks: Collection[asyncio.Task[Any]], seconds: float) -> None:
    """Return when tasks have ended, or after some seconds."""
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)


async def _call_in_turn(stops: Iterable[Stop]) -> None:
    for stop in stops:
        try:
            await stop()
        except Exception:
            logger.exception("Cannot stop as it should be")


async def run_lifespan(
    application: Application,
    stop: Stop,
    finish: Stop,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Live as long as the server, by the protocol ``lifespan``.

    The application may take part. Django does not: for one that ends, or fails, without
    a look at what the server says, the server is answered here.

    Args:
        application: What the server serves.
        stop: A coroutine function to be called when the server stops.
        finish: Another one, to be called when its last request has ended.
        scope: The server's.
        receive: The server's.
        send: The server's.
    """
    takes_part = False

    async def receive_event() -> ASGIMessage:
        nonlocal takes_part
        takes_part = True
        event = await receive()
        if event["type"] == "lifespan.shutdown":
            await _call_in_turn([stop, finish])
        return event

    with call_on_signals(stop):
        try:
            await application(scope, receive_event, send)
        except Exception:
            if takes_part:
                raise
        if not takes_part:
            await receive_event()
            await send({"type": "lifespan.startup.complete"})
            await receive_event()
            await send({"type": "lifespan.shutdown.complete"})


@contextmanager
def call_on_signals(stop: Stop) -> Iterator[None]:
    """Have a coroutine function called when this process is told to stop.

    It is called besides what the server does then; where that is nothing, because the
    server is not the process's main business, or has a reactor, it is not called.
    """
    loop = asyncio.get_running_loop()
    tasks = set()
    replaced: dict[signal.Signals, Any] = {}

    def begin() -> None:
        tasks.add(loop.create_task(_call_in_turn([stop])))

    def handle(number: int, frame: FrameType | None) -> None:
        with suppress(RuntimeError):  # The loop has been closed.
            loop.call_soon_threadsafe(begin)
        replaced[signal.Signals(number)](number, frame)

    if threading.current_thread() is threading.main_thread() and not _reactor():
        for each in SIGNALS:
            handler = signal.getsignal(each)
            if callable(handler):
                replaced[each] = handler
                signal.signal(each, handle)
    try:
        yield
    finally:
        for each, handler in replaced.items():
            if signal.getsignal(each) is handle:
                signal.signal(each, handler)
