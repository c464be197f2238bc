"""List the channels of a store, in any process and any thread."""

from __future__ import annotations

from heapq import nsmallest
from typing import TYPE_CHECKING

from pushserver.conf import get_settings
from pushserver.listing import ListedChannel, Listing, ListingError
from pushserver.publishers.deadline import Deadline

from .hub import hubs
from .store_requests import StoreRequest
from .stores import CommonStore, Store
from .stores.figures import ChannelFigures
from .sync_publishing import run_coroutine

if TYPE_CHECKING:
    from pushserver_channels.stores.redis.publishing import RedisPublishing

#: Seconds in which all channels must have been looked at.
TIMEOUT = 60.0


class ListingRequest(StoreRequest[Listing]):
    """Finds channels by a text in their ids.

    Args:
        store: The name of the store.
        search: The text, in any case.
        limit: The most channels that are listed.
    """

    error = ListingError
    coroutine = "call list_channels() in a thread"

    def __init__(self, store: str, search: str, limit: int) -> None:
        super().__init__(store, get_settings().store[store], object())
        self._search = search.lower()
        self._limit = limit

    async def do_here(self) -> Listing:
        hub = hubs.get(self.name)
        found, total = await self._find(hub.store)
        ids = [each.channel_id for each in found]
        listening = dict.fromkeys(ids, 0)
        if isinstance(hub.store, CommonStore):
            listening = await hub.store.count_listening(ids)
        else:
            listening |= {each: 1 for each in ids if each in hub.waiting}
        return _build(found, listening, total)

    def do_in_redis(self, redis: RedisPublishing, deadline: Deadline) -> Listing:
        # The time to publish a message is too short to look at all channels.
        return run_coroutine(self._do_with_new_store(), Deadline(TIMEOUT))

    async def do_with(self, store: Store) -> Listing:
        if not isinstance(store, CommonStore):
            raise ListingError(
                "A channel layer keeps the messages in the processes of the push"
                " server, which does not run in this one. Use a store in Redis."
            )
        found, total = await self._find(store)
        listening = await store.count_listening([each.channel_id for each in found])
        return _build(found, listening, total)

    async def _find(self, store: Store) -> tuple[list[ChannelFigures], int]:
        """Return the first channels that match, and the number of all of them."""
        first: dict[str, ChannelFigures] = {}
        seen: set[str] = set()
        async for some in store.scan(lambda each: self._search in each.lower()):
            seen.update(each.channel_id for each in some)
            first.update((each.channel_id, each) for each in some)
            ids = nsmallest(self._limit, first)
            first = {each: first[each] for each in ids}
        return list(first.values()), len(seen)


def _build(
    found: list[ChannelFigures], listening: dict[str, int], total: int
) -> Listing:
    channels = [
        ListedChannel(
            each.channel_id,
            each.messages,
            str(each.last_message_id),
            listening.get(each.channel_id, 0),
        )
        for each in found
    ]
    return Listing(channels, total)
