"""Publish revocations, from any process and any thread."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from django.core.exceptions import SynchronousOnlyOperation
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from pushserver.access.revoking import RevocationError
from pushserver.conf import RedisStoreSettings, StoreSettings, get_settings
from pushserver.event_loops import find_running_loop
from pushserver.publishers import Update
from pushserver.publishers.connections import NoConnectionFree
from pushserver.publishers.deadline import Deadline
from pushserver.publishers.workers import NotStarted, workers
from pushserver_channels.exceptions import PushError
from pushserver_channels.hub import hubs
from pushserver_channels.loop_calls import run_from_thread, submit, wait_for_result
from pushserver_channels.store_descriptions import describe_store
from pushserver_channels.stores import make_store
from pushserver_channels.sync_publishing import REDIS_PUBLISHING, run_coroutine

from .revocations import CHANNEL, find_hub, find_store

if TYPE_CHECKING:
    from pushserver_channels.stores.redis.publishing import RedisPublishing

#: Seconds in which a revocation must be published if ``publisher_timeout`` is 0.
TIMEOUT = 10.0


class RevocationPublisher:
    """Publishes the revocations for a store.

    Args:
        store: The name of the store.
    """

    def __init__(self, store: str) -> None:
        self._name = store
        self._settings = find_store(store)

    def publish_sync(self, record: bytes) -> None:
        """Publish a revocation from sync code.

        Raises ``RevocationError``, and ``SynchronousOnlyOperation`` on the event loop
        of the push server.
        """
        update, deadline = Update(CHANNEL, record), _make_deadline()
        loop = self._find_loop()
        if loop is not None and loop is find_running_loop():
            raise SynchronousOnlyOperation(
                "The event loop of the push server would wait for itself: write 'await"
                " arevoke(...)' there."
            )
        with self._converting_errors():
            if loop is not None:
                run_from_thread(self._publish_here(update), loop, deadline)
            elif isinstance(self._settings, RedisStoreSettings):
                self._append(update, deadline)
            else:
                run_coroutine(self._publish_with_new_store(update), deadline)

    async def publish(self, record: bytes) -> None:
        """Publish a revocation, from any event loop. Raises ``RevocationError``."""
        update, deadline = Update(CHANNEL, record), _make_deadline()
        loop = self._find_loop()
        with self._converting_errors():
            if loop is asyncio.get_running_loop():
                await asyncio.wait_for(self._publish_here(update), deadline.left())
            elif loop is not None:
                future = submit(self._publish_here(update), loop)
                await wait_for_result(future, deadline)
            elif isinstance(self._settings, RedisStoreSettings):
                append = partial(self._append, update, deadline)
                await workers.run(CHANNEL, append, deadline)
            else:
                publishing = self._publish_with_new_store(update)
                await asyncio.wait_for(publishing, deadline.left())

    def _find_loop(self) -> asyncio.AbstractEventLoop | None:
        """Return the push server's event loop, None to publish into a shared store."""
        loop = hubs.loop
        if loop is None and not self._settings.shared:
            raise RevocationError(
                f"The store {self._name!r} is in the memory of the push server, which"
                " does not run in this process. Several processes need a shared store,"
                " such as Redis."
            )
        return loop

    async def _publish_here(self, update: Update) -> None:
        await find_hub(self._name).publish(update)

    async def _publish_with_new_store(self, update: Update) -> None:
        store = make_store(self._settings)
        try:
            await store.append(update)
        finally:
            await store.aclose()

    def _append(self, update: Update, deadline: Deadline) -> None:
        publishing = _make_publishing(self._settings)
        publishing.append(update, deadline, keep=True, create=True)

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


@lru_cache
def _make_publishing(settings: StoreSettings) -> RedisPublishing:
    """Return what publishes into a store in Redis, which is made once per process."""
    publishing: RedisPublishing = import_string(REDIS_PUBLISHING)(settings)
    return publishing


def _forget(**change: object) -> None:
    if change["setting"] == "PUSH_SERVER":
        _make_publishing.cache_clear()


setting_changed.connect(_forget)
