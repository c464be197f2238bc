"""Answer who is on a channel, in any process and any thread."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.core.exceptions import SynchronousOnlyOperation

from pushserver.conf import get_settings
from pushserver.event_loops import find_running_loop
from pushserver.presence import PresenceError
from pushserver.presence.names import PREFIX
from pushserver.publishers.connections import NoConnectionFree
from pushserver.publishers.deadline import Deadline
from pushserver.publishers.workers import NotStarted
from pushserver_channels.exceptions import PushError
from pushserver_channels.hub import hubs
from pushserver_channels.store_descriptions import describe_store
from pushserver_channels.store_work import StoreWork
from pushserver_channels.stores import Store

from .base import USER
from .registry import find_presence

if TYPE_CHECKING:
    from pushserver_channels.stores.redis.publishing import RedisPublishing

#: Seconds in which the store must answer if ``publisher_timeout`` is 0.
TIMEOUT = 10.0


class PresenceQuestion(StoreWork[Any]):
    """Finds out who is on a channel.

    Args:
        store: The name of the store.
        channel_id: The channel.
        what: ``members``, ``count``, or ``has`` for whether one is there.
        user: The key of that one.
    """

    def __init__(self, store: str, channel_id: str, what: str, user: str) -> None:
        super().__init__(get_settings().store[store], object())
        self._name = store
        self._channel_id = channel_id
        self._what = what
        self._member = USER + user

    def ask_sync(self) -> Any:
        """Return the answer, to sync code.

        Raises ``PresenceError``, and ``SynchronousOnlyOperation`` on the event loop of
        the push server.
        """
        loop = self._find_loop()
        if loop is not None and loop is find_running_loop():
            raise SynchronousOnlyOperation(
                "The event loop of the push server would wait for itself: use the"
                " coroutine functions of pushserver.presence there, such as amembers()."
            )
        with self._converting_errors():
            return self.run_sync(loop, _make_deadline())

    async def ask(self) -> Any:
        """Return the answer, on any event loop. Raises ``PresenceError``."""
        loop = self._find_loop()
        with self._converting_errors():
            return await self.run(loop, _make_deadline())

    async def do_here(self) -> Any:
        store = find_presence(self._name).presence.store
        if self._what == "has":
            return await store.has(self._channel_id, self._member)
        if self._what == "count":
            return await store.count(self._channel_id)
        return (await store.read(self._channel_id, for_page=False)).members or {}

    def do_in_redis(self, redis: RedisPublishing, deadline: Deadline) -> Any:
        # Not imported above, because it needs redis-py.
        from pushserver_channels.stores.redis import presence_replies as replies

        words, read = {
            "has": (("0", self._member), replies.read_answer),
            "count": (("n",), replies.read_count),
            "members": (("0",), lambda reply: replies.read_snapshot(reply)[1] or {}),
        }[self._what]
        channel_id = PREFIX + self._channel_id
        return read(redis.read("presence_state", channel_id, deadline, *words))

    async def do_with(self, store: Store) -> Any:
        raise AssertionError("Of the stores with presence, only Redis is shared.")

    def _find_loop(self) -> asyncio.AbstractEventLoop | None:
        """Return the push server's event loop, None to ask a shared store."""
        loop = hubs.loop
        if loop is None and not self.settings.shared:
            raise PresenceError(
                f"The store {self._name!r} is in the memory of the push server, which"
                " does not run in this process. Several processes need a shared store,"
                " such as Redis."
            )
        return loop

    @contextmanager
    def _converting_errors(self) -> Iterator[None]:
        """Convert the exceptions of a ``with`` block to ``PresenceError``."""
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
            place = describe_store(self.settings)
            reason = str(error) or "no answer in time"
            raise PresenceError(f"{place}: {reason}") from error


def _make_deadline() -> Deadline:
    return Deadline(get_settings().publisher_timeout or TIMEOUT)
