"""Work on a store from any process, any thread and any event loop.

If the push server runs in this process, the work is done through the hub, on the event
loop of the server. Otherwise it is done in the shared store: in Redis from sync code,
on a connection that is kept open, and elsewhere with a store that is made for it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Hashable
from concurrent import futures
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pushserver.conf import StoreSettings
from pushserver.publishers.deadline import Deadline
from pushserver.publishers.workers import workers

from .stores import Store, make_store
from .sync_publishing import find_publishing, run_coroutine

if TYPE_CHECKING:
    from .stores.redis.publishing import RedisPublishing

Result = TypeVar("Result")


class StoreWork(ABC, Generic[Result]):
    """Work on a store, which is done in one of three ways.

    Args:
        settings: The settings of the store.
        key: In Redis, works with the same key are done in the order of the calls.
    """

    def __init__(self, settings: StoreSettings, key: Hashable) -> None:
        self.settings = settings
        self.key = key

    @abstractmethod
    async def do_here(self) -> Result:
        """Do it through the hub, on the event loop of the push server."""

    @abstractmethod
    def do_in_redis(self, redis: RedisPublishing, deadline: Deadline) -> Result:
        """Do it in Redis, in a process without a push server."""

    @abstractmethod
    async def do_with(self, store: Store) -> Result:
        """Do it with a store, in a process without a push server."""

    def run_sync(
        self, loop: asyncio.AbstractEventLoop | None, deadline: Deadline
    ) -> Result:
        """Do the work from sync code, and return its result.

        Args:
            loop: The event loop of the push server, None if none runs in this process.
            deadline: When the time is up.

        Raises a ``TimeoutError`` at the deadline, ``NotStarted`` or
        ``NoConnectionFree`` if nothing was done until then, ``CancelledError`` if the
        push server stops, and what the work raises.
        """
        if loop is not None:
            return _run_from_thread(self.do_here(), loop, deadline)
        redis = find_publishing(self.settings)
        if redis is not None:
            return self.do_in_redis(redis, deadline)
        return run_coroutine(self._do_with_new_store(), deadline)

    async def run(
        self, loop: asyncio.AbstractEventLoop | None, deadline: Deadline
    ) -> Result:
        """Do the work from any event loop, and return its result.

        The arguments and what is raised are those of :meth:`run_sync`.
        """
        if loop is asyncio.get_running_loop():
            return await asyncio.wait_for(self.do_here(), deadline.left())
        if loop is not None:
            # The hub belongs to the server's event loop; this is another one.
            return await _wait_for(_submit(self.do_here(), loop), deadline)
        redis = find_publishing(self.settings)
        if redis is not None:
            work = partial(self.do_in_redis, redis, deadline)
            return await workers.run(self.key, work, deadline)
        return await asyncio.wait_for(self._do_with_new_store(), deadline.left())

    async def _do_with_new_store(self) -> Result:
        store = make_store(self.settings)
        try:
            return await self.do_with(store)
        finally:
            await store.aclose()


def _submit(
    work: Coroutine[Any, Any, Result], loop: asyncio.AbstractEventLoop
) -> futures.Future[Result]:
    """Start a coroutine on the push server's event loop, from another thread."""
    try:
        return asyncio.run_coroutine_threadsafe(work, loop)
    except RuntimeError as error:  # The event loop was closed.
        work.close()
        raise futures.CancelledError from error


def _run_from_thread(
    work: Coroutine[Any, Any, Result],
    loop: asyncio.AbstractEventLoop,
    deadline: Deadline,
) -> Result:
    """Run a coroutine on the push server's event loop, and wait in this thread."""
    future = _submit(work, loop)
    try:
        return future.result(deadline.left())
    except futures.TimeoutError:
        future.cancel()
        raise


async def _wait_for(future: futures.Future[Result], deadline: Deadline) -> Result:
    """Wait on this event loop for the result of the push server's event loop."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def notify(future: futures.Future[Result]) -> None:
        with suppress(RuntimeError):  # This event loop was closed.
            loop.call_soon_threadsafe(done.set)

    future.add_done_callback(notify)
    try:
        await asyncio.wait_for(done.wait(), deadline.left())
    finally:
        future.cancel()
    return future.result()
