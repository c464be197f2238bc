"""Answer the pages of the dashboard, in any process and any thread."""

from __future__ import annotations

import time
from abc import abstractmethod
from math import ceil
from typing import TYPE_CHECKING, Any

from pushserver.conf import get_settings
from pushserver.dashboard.errors import DashboardError
from pushserver.publishers.deadline import Deadline
from pushserver_channels.exceptions import ChannelNotFound
from pushserver_channels.hub import hubs
from pushserver_channels.messages import MessageId
from pushserver_channels.store_requests import StoreRequest
from pushserver_channels.stores import CommonStore, Store
from pushserver_channels.stores.figures import ChannelFigures
from pushserver_channels.sync_publishing import run_coroutine

from .inquiries import Inquiry
from .messages import describe_messages
from .processes import Processes, ask_from_outside, ask_here
from .ranking import MAX_RANKED, NO_MESSAGE, Ranker, Rankings
from .responder import Responder, responders

if TYPE_CHECKING:
    from pushserver_channels.stores.redis.publishing import RedisPublishing

#: Seconds in which a page must be answered.
TIMEOUT = 10.0

#: The channels on a page of the list.
PAGE_SIZE = 50

#: The most messages of a channel that are shown.
MAX_MESSAGES = 50

#: The rankings that a process without a push server has made, by its store's settings.
_rankings: dict[Any, Rankings] = {}


class DashboardRequest(StoreRequest[Any]):
    """What a page asks of a store and its processes.

    Args:
        store: The name of the store.
    """

    error = DashboardError
    coroutine = "ask from a sync view"

    def __init__(self, store: str) -> None:
        super().__init__(store, get_settings().store[store], object())

    def make_deadline(self) -> Deadline:
        return Deadline(TIMEOUT)  # To look at all channels may take a while.

    @abstractmethod
    async def look(self, store: Store, responder: Responder | None) -> Any:
        """Return the answer.

        Args:
            store: The store.
            responder: Answers for this process, None if it has no push server.
        """

    async def do_here(self) -> Any:
        responder = responders.get(self.name)
        if responder is None:
            raise DashboardError(
                "No request has reached the push server of this process yet."
            )
        return await self.look(hubs.get(self.name).store, responder)

    def do_in_redis(self, redis: RedisPublishing, deadline: Deadline) -> Any:
        return run_coroutine(self._do_with_new_store(), deadline)

    async def do_with(self, store: Store) -> Any:
        if not isinstance(store, CommonStore):
            raise DashboardError(
                "A channel layer keeps the messages in the processes of the push"
                " server, and this is none of them. Open the dashboard at one of them,"
                " or use a store in Redis."
            )
        return await self.look(store, None)

    async def ask_processes(
        self, responder: Responder | None, inquiry: Inquiry
    ) -> Processes:
        """Return what the processes of the push server answer."""
        if responder is None:
            return await ask_from_outside(self.name, inquiry)
        return await ask_here(responder, self.name, inquiry)


class OverviewRequest(DashboardRequest):
    """Finds out how the processes are, and which channels there are.

    Args:
        store: The name of the store.
        search: A part of the ids of channels, empty for all.
        sort: How they are sorted, a key of ``SORTS``.
        page: The number of the page, from 1.
    """

    def __init__(self, store: str, search: str, sort: str, page: int) -> None:
        super().__init__(store)
        self._search = search.lower()
        self._sort = sort
        self._page = page

    async def look(self, store: Store, responder: Responder | None) -> dict[str, Any]:
        rankings = (
            _rankings.setdefault(self.settings, Rankings())
            if responder is None
            else responder.rankings
        )

        key = self.name, self._search, self._sort
        ranking = rankings.find(key)
        if ranking is None:
            inquiry = Inquiry(search=self._search)
            held = (await self.ask_processes(responder, inquiry)).count_held()
            ranker = Ranker(store, held, self._search, self._sort)
            ranking = await rankings.make(key, ranker, goes_on=responder is not None)
        pages = max(ceil(len(ranking.channel_ids) / PAGE_SIZE), 1)
        page = min(max(self._page, 1), pages)
        ids = ranking.channel_ids[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
        processes = await self.ask_processes(responder, Inquiry(tuple(ids)))
        held = processes.count_held()
        figures = {each.channel_id: each for each in await store.measure(ids)}
        return {
            "processes": _describe_processes(processes),
            "silent": processes.silent,
            "total": ranking.total,
            "is_complete": ranking.is_complete,
            "is_running": ranking.is_running,
            "max_ranked": MAX_RANKED,
            "page": page,
            "pages": pages,
            "channels": [
                _describe(each, figures.get(each), held.get(each, 0))
                for each in ids
                if each in figures or held.get(each)
            ],
        }


class ChannelRequest(DashboardRequest):
    """Finds out what a channel keeps, and how many listen to it.

    Args:
        store: The name of the store.
        channel_id: The channel.
    """

    def __init__(self, store: str, channel_id: str) -> None:
        super().__init__(store)
        self._channel_id = channel_id

    async def look(self, store: Store, responder: Responder | None) -> dict[str, Any]:
        channel_id = self._channel_id
        inquiry = Inquiry((channel_id,))
        processes = await self.ask_processes(responder, inquiry)
        held = processes.count_held().get(channel_id, 0)
        found = await store.measure([channel_id])
        messages = await store.newest(channel_id, MAX_MESSAGES)
        return {
            **_describe(channel_id, found[0] if found else None, held),
            "exists": bool(found or held),
            "by_process": [
                {"name": each.process, "held": each.held.get(channel_id, 0)}
                for each in processes.answers
            ],
            "silent": processes.silent,
            "entries": describe_messages(messages),
        }


class DeletionRequest(DashboardRequest):
    """Deletes a channel with its messages; returns whether there was one.

    Args:
        store: The name of the store.
        channel_id: The channel.
    """

    def __init__(self, store: str, channel_id: str) -> None:
        super().__init__(store)
        self._channel_id = channel_id

    async def look(self, store: Store, responder: Responder | None) -> bool:
        try:
            if responder is None:
                await store.delete(self._channel_id)
            else:
                await hubs.get(self.name).delete(self._channel_id)
        except ChannelNotFound:
            return False
        return True


def _describe(
    channel_id: str, figures: ChannelFigures | None, held: int
) -> dict[str, Any]:
    """Return what a page shows of a channel."""
    if figures is None:
        figures = ChannelFigures(channel_id, 0, NO_MESSAGE, 0.0)
    last: MessageId = figures.last_message_id
    return {
        "id": channel_id,
        "held": held,
        "messages": figures.messages,
        "per_minute": figures.per_minute,
        "last_id": str(last) if last.time else None,
        "age": max(time.time() - last.time, 0) if last.time else None,
    }


def _describe_processes(processes: Processes) -> list[dict[str, Any]]:
    found = [(each, True) for each in processes.answers]
    found += [(each, False) for each in processes.late]
    found.sort(key=lambda each: each[0].process)
    return [summary.describe(is_answering) for summary, is_answering in found]
