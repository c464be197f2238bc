"""Publish revocations, from any process and any thread."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.core.exceptions import SynchronousOnlyOperation

from pushserver.access.revoking import RevocationError
from pushserver.conf import get_settings
from pushserver.event_loops import find_running_loop
from pushserver.publishers import Update
from pushserver.publishers.connections import NoConnectionFree
from pushserver.publishers.deadline import Deadline
from pushserver.publishers.workers import NotStarted
from pushserver_channels.exceptions import PushError
from pushserver_channels.hub import hubs
from pushserver_channels.store_descriptions import describe_store
from pushserver_channels.store_work import StoreWork
from pushserver_channels.stores import Store

from .revocations import CHANNEL, find_hub, find_store

if TYPE_CHECKING:
    from pushserver_channels.stores.redis.publishing import RedisPublishing

#: Seconds in which a revocation must be published if ``publisher_timeout`` is 0.
TIMEOUT = 10.0


class RevocationPublisher(StoreWork[None]):
    """Publishes a revocation.

    Args:
        store: The name of the store whose channels it concerns.
        record: The revocation.
    """

    def __init__(self, store: str, record: bytes) -> None:
        super().__init__(find_store(store), CHANNEL)
        self._name = store
        self._update = Update(CHANNEL, record)

    def publish_sync(self) -> None:
        """Publish the revocation from sync code.

        Raises ``RevocationError``, and ``SynchronousOnlyOperation`` on the event loop
        of the push server.
        """
        loop = self._find_loop()
        if loop is not None and loop is find_running_loop():
            raise SynchronousOnlyOperation(
                "The event loop of the push server would wait for itself: write 'await"
                " arevoke(...)' there."
            )
        with self._converting_errors():
            self.run_sync(loop, _make_deadline())

    async def publish(self) -> None:
        """Publish the revocation, from any event loop. Raises ``RevocationError``."""
        loop = self._find_loop()
        with self._converting_errors():
            await self.run(loop, _make_deadline())

    async def do_here(self) -> None:
        await find_hub(self._name).publish(self._update)

    def do_in_redis(self, redis: RedisPublishing, deadline: Deadline) -> None:
        redis.append(self._update, deadline, keep=True, create=True)

    async def do_with(self, store: Store) -> None:
        await store.append(self._update)

    def _find_loop(self) -> asyncio.AbstractEventLoop | None:
        """Return the push server's event loop, None to publish into a shared store."""
        loop = hubs.loop
        if loop is None and not self.settings.shared:
            raise RevocationError(
                f"The store {self._name!r} is in the memory of the push server, which"
                " does not run in this process. Several processes need a shared store,"
                " such as Redis."
            )
        return loop

    @contextmanager
    def _converting_errors(self) -> Iterator[None]:
        """Convert the exceptions of a ``with`` block to ``RevocationError``."""
        try:
            yield
        except (
            PushError,
            NotStarted,
            NoConnectionFree,
            TimeoutError,
            asyncio.TimeoutError,
            futures.TimeoutError,
            futures.CancelledError,
        ) as error:
            place = describe_store(get_settings().store[self._name])
            reason = str(error) or "no answer in time"
            raise RevocationError(f"{place}: {reason}") from error


def _make_deadline() -> Deadline:
    return Deadline(get_settings().publisher_timeout or TIMEOUT)
