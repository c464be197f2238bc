"""Answer who is on a channel, in any process and any thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pushserver.conf import get_settings
from pushserver.presence import PresenceError
from pushserver.presence.names import PREFIX
from pushserver.publishers.deadline import Deadline
from pushserver_channels.store_requests import StoreRequest
from pushserver_channels.stores import Store

from .base import USER
from .registry import find_presence

if TYPE_CHECKING:
    from pushserver_channels.stores.redis.publishing import RedisPublishing


class PresenceQuestion(StoreRequest[Any]):
    """Finds out who is on a channel.

    Args:
        store: The name of the store.
        channel_id: The channel.
        what: ``members``, ``count``, or ``has`` for whether one is there.
        user: The key of that one.
    """

    error = PresenceError
    coroutine = (
        "use the coroutine functions of pushserver.presence, such as amembers(),"
    )

    def __init__(self, store: str, channel_id: str, what: str, user: str) -> None:
        super().__init__(store, get_settings().store[store], object())
        self._channel_id = channel_id
        self._what = what
        self._member = USER + user

    async def do_here(self) -> Any:
        store = find_presence(self.name).presence.store
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
        raise PresenceError(
            f"Of the store {self.name!r}, which is over a channel layer, only processes"
            " with a push server know who is on a channel, and none runs in this"
            " process. Ask there, or use a store in Redis."
        )
