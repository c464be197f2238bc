"""Notice that the server stops, while held requests can still be answered.

Daphne cancels its applications on SIGTERM, and a held request can still be answered
then. But if a client has sent half a request, Daphne fails on that connection, which
has no application yet, and cancels none. It also stops waiting for the others when the
first application has ended. So the push server registers with Twisted's reactor as
well.

Other servers announce shutdown by the ASGI protocol ``lifespan``, but uvicorn and
granian do so only after the last request has ended or was cut. So with them the push
server handles the signal itself.
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

logger = logging.getLogger("pushserver.server")

Stop = Callable[[], Awaitable[None]]

#: The signals that stop a server.
SIGNALS = (signal.SIGTERM, signal.SIGINT)

_stops: list[Stop] = []


def call_before_shutdown(stop: Stop) -> bool:
    """Register a coroutine function that Daphne awaits before it stops.

    The functions are called one after the other, in the order of registration. Return
    False, and do nothing, under other ASGI servers, which have no reactor.
    """
    reactor = find_reactor()
    if reactor is None:
        return False
    if not _stops:
        reactor.addSystemEventTrigger("before", "shutdown", _stop)
    _stops.append(stop)
    return True


def find_reactor() -> Any:
    """Return Twisted's reactor if it runs, as under Daphne, else None."""
    reactor = sys.modules.get("twisted.internet.reactor")
    return reactor if reactor is not None and reactor.running else None


def stop_listening() -> bool:
    """Let Daphne accept no further connections, so that its clients ask others.

    Connections that wait are accepted first: a client may have sent its request. Return
    False, and do nothing, under other servers: when they stop they do it themselves,
    and answer the requests that they have.
    """
    reactor = find_reactor()
    if reactor is None:
        return False
    from twisted.internet.tcp import Port

    ports: list[Any] = [each for each in reactor.getReaders() if isinstance(each, Port)]
    for port in ports:
        port.doRead()
        port.stopListening()
    return True


def _stop() -> Any:
    """Call the registered functions; return a Deferred that Twisted waits for."""
    from twisted.internet.defer import Deferred

    return Deferred.fromFuture(asyncio.ensure_future(_call_in_turn(_stops)))


async def wait_for_end(tasks: Collection[asyncio.Task[Any]], seconds: float) -> None:
    """Wait until all tasks have ended, or for a number of seconds."""
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)


async def _call_in_turn(stops: Iterable[Stop]) -> None:
    for stop in stops:
        try:
            await stop()
        except Exception:
            extra = {"reason": "failed"}
            logger.exception("A part of the push server failed to stop", extra=extra)


async def run_lifespan(
    application: Application,
    stop: Stop,
    finish: Stop,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Run the ``lifespan`` protocol, and call a function when the server stops.

    The application may implement the protocol, too. Django does not: if the application
    ends or fails without receiving an event, the server is answered here.

    Args:
        application: The ASGI application that the server serves.
        stop: A coroutine function, called when the server begins to stop.
        finish: A coroutine function, called when its last request has ended.
        scope: The lifespan scope.
        receive: Returns the next event of the server.
        send: Sends an event to the server.
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


class TerminationDelay:
    """Lets the first SIGTERM of this process wait for a coroutine function.

    Then the handler of the server is called, as if the signal came only now. So the
    server goes on listening meanwhile. A second SIGTERM does not wait, and SIGINT never
    does.

    Args:
        work: What is done first.
    """

    def __init__(self, work: Stop) -> None:
        self._work = work
        self._handler: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._has_begun = False

    def install(self) -> None:
        """Handle the signal from now on, for the running event loop.

        This does nothing outside the main thread, and if the signal has no handler: it
        then ends the process at once.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        handler = signal.getsignal(signal.SIGTERM)
        if not callable(handler):
            return
        self._loop = asyncio.get_running_loop()
        if handler == self._handle:
            return
        self._handler = handler
        signal.signal(signal.SIGTERM, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        assert self._loop is not None, "By install()."
        if not self._has_begun:
            self._has_begun = True
            with suppress(RuntimeError):  # The loop has been closed.
                self._loop.call_soon_threadsafe(self._begin)
                return
        self._stop()

    def _begin(self) -> None:
        assert self._loop is not None, "By install()."
        self._task = self._loop.create_task(self._work_and_stop())

    async def _work_and_stop(self) -> None:
        await _call_in_turn([self._work])
        if signal.getsignal(signal.SIGTERM) == self._handle:
            self._stop()

    def _stop(self) -> None:
        """Call the handler of the server."""
        signal.signal(signal.SIGTERM, self._handler)
        self._has_begun = False
        signal.raise_signal(signal.SIGTERM)


@contextmanager
def call_on_signals(stop: Stop) -> Iterator[None]:
    """Call a coroutine function when this process gets a signal to stop.

    The server's own handler is called as well. A signal without a handler is left
    alone, and so are all of them outside the main thread and under Twisted's reactor.
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

    if threading.current_thread() is threading.main_thread() and not find_reactor():
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
