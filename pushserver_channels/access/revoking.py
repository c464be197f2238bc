"""Publish revocations, from any process and any thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushserver.access.revoking import RevocationError
from pushserver.publishers import Update
from pushserver.publishers.deadline import Deadline
from pushserver_channels.followers import find_hub, find_store
from pushserver_channels.store_requests import StoreRequest
from pushserver_channels.stores import Store

from .revocations import CHANNEL

if TYPE_CHECKING:
    from pushserver_channels.stores.redis.publishing import RedisPublishing


class RevocationPublisher(StoreRequest[None]):
    """Publishes a revocation.

    Args:
        store: The name of the store whose channels it concerns.
        record: The revocation.
    """

    error = RevocationError
    coroutine = "write 'await arevoke(...)'"

    def __init__(self, store: str, record: bytes) -> None:
        super().__init__(store, find_store(store), CHANNEL)
        self._update = Update(CHANNEL, record)

    async def do_here(self) -> None:
        await find_hub(self.name).publish(self._update)

    def do_in_redis(self, redis: RedisPublishing, deadline: Deadline) -> None:
        redis.append(self._update, deadline, keep=True, create=True)

    async def do_with(self, store: Store) -> None:
        await store.append(self._update)
