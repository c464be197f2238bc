"""Order processes to drain, from any process and any thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushserver.draining import DrainError
from pushserver.publishers import Update
from pushserver.publishers.deadline import Deadline
from pushserver_channels.followers import find_hub, find_store
from pushserver_channels.store_requests import StoreRequest
from pushserver_channels.stores import Store

from .orders import CHANNEL

if TYPE_CHECKING:
    from pushserver_channels.stores.redis.publishing import RedisPublishing


class DrainRequest(StoreRequest["int | None"]):
    """Publishes an order; returns how many processes read it, None if unknown.

    Args:
        store: The name of the shared store beside which the orders are.
        order: The order.
    """

    error = DrainError
    coroutine = "await adrain()"

    def __init__(self, store: str, order: bytes) -> None:
        super().__init__(store, find_store(store), CHANNEL)
        self._update = Update(CHANNEL, order)

    async def do_here(self) -> int | None:
        _, info = await find_hub(self.name).publish(self._update)
        return info.subscribers

    def do_in_redis(self, redis: RedisPublishing, deadline: Deadline) -> int | None:
        _, info = redis.append(self._update, deadline, keep=True, create=True)
        return info.subscribers

    async def do_with(self, store: Store) -> int | None:
        # A channel layer does not tell who listens.
        await store.append(self._update)
        return None
