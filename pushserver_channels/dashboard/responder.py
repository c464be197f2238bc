"""Answers the inquiries of dashboards in a process of the push server."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from heapq import nlargest
from operator import itemgetter
from typing import NamedTuple

from pushserver_channels.exceptions import PushError, ServerStopping, StoreUnavailable
from pushserver_channels.hub import Heard, Hub, InternalCursor, hubs
from pushserver_channels.messages import START, Message, MessageId
from pushserver_channels.metrics.snapshot import Snapshot
from pushserver_channels.process_names import name_process
from pushserver_channels.stores import CommonStore

from .inquiries import CHANNEL, Inquiry, find_store
from .ranking import Rankings
from .summary import Summary

logger = logging.getLogger("pushserver.server")

#: The most seconds for which a figure is not taken again, however many look.
INTERVAL = 1.0

#: Seconds for which an inquiry is answered together with later ones: who made it may
#: not have read the answer yet.
REMEMBERED = 2.0

#: The most inquiries that are answered together.
MAX_INQUIRIES = 100

#: Seconds for which an answer is kept.
EXPIRES = 600

#: The most channels of which a process says that they have most subscribers.
MAX_TOP = 1000

#: The most channels that are looked at before other tasks run.
_BATCH = 2000


class _State(NamedTuple):
    """How this process was a moment ago."""

    taken_at: float
    faults: list[str]
    snapshot: Snapshot


class Responder(InternalCursor):
    """Answers inquiries about this process and its subscribers on one store.

    Args:
        store: The name of the store.
        find_faults: Returns why the process should get no requests.
        take: Returns the metrics of the process.

    Attributes:
        rankings: The channels of the store as dashboards have sorted them.
    """

    __slots__ = (
        "_answering",
        "_find_faults",
        "_hub",
        "_newest",
        "_recent",
        "_state",
        "_store",
        "_take",
        "_tops",
        "rankings",
    )

    def __init__(
        self,
        store: str,
        find_faults: Callable[[], Awaitable[list[str]]],
        take: Callable[[], Awaitable[Snapshot]],
    ) -> None:
        super().__init__(CHANNEL)
        self._store = store
        self._find_faults = find_faults
        self._take = take
        self._hub: Hub | None = None
        self._answering: asyncio.Task[None] | None = None
        self._recent: deque[tuple[float, Inquiry]] = deque(maxlen=MAX_INQUIRIES)
        self._newest = START
        self._state: _State | None = None
        self._tops: dict[str, tuple[float, dict[str, int]]] = {}
        self.rankings = Rankings()

    def start(self) -> None:
        """Hear the inquiries of all processes, if they share the store.

        Later calls on the same event loop do nothing.
        """
        loop = asyncio.get_running_loop()
        if self._hub is not None and self._hub.loop is loop:
            return
        if isinstance(hubs.get(self._store).store, CommonStore):
            self._hub = hubs.get(self._store, settings=find_store(self._store))
            self._hub.enter(self)

    def stop(self) -> None:
        """Hear no more inquiries."""
        if self._hub is not None:
            self._hub.leave(self)

    def hear(self, message: Message) -> Heard:
        try:
            inquiry = Inquiry.parse(message.body)
        except ValueError as error:
            text = "An inquiry of a dashboard cannot be read: %s"
            logger.warning(text, error, extra={"reason": "invalid"})
            return Heard.TAKEN
        loop = asyncio.get_running_loop()
        self._recent.append((loop.time(), inquiry))
        self._newest = message.id
        if self._answering is None or self._answering.done():
            self._answering = loop.create_task(self._answer())
        return Heard.TAKEN

    def end(self, error: PushError | None) -> None:
        """Go on if the channel was deleted, and not if the server stops."""
        if self._hub is not None and not isinstance(error, ServerStopping):
            self._hub.enter(self)

    async def summarize(
        self, inquiries: Iterable[Inquiry], answered: MessageId = START
    ) -> Summary:
        """Return the answer of this process to some inquiries."""
        hub = hubs.get(self._store)
        held: dict[str, int] = {}
        for search in {each.search for each in inquiries if each.search is not None}:
            held.update(await self._find_most_held(hub, search))
        for inquiry in inquiries:
            for channel_id in inquiry.channel_ids:
                held[channel_id] = len(hub.waiting.get(channel_id, ()))
        state = await self._find_state()
        return Summary.of_this_process(state.faults, state.snapshot, held, answered)

    async def _answer(self) -> None:
        """Write the answer to what was asked, until nothing more was asked."""
        assert self._hub is not None, "By start()."
        store = self._hub.store
        assert isinstance(store, CommonStore), "By start()."
        loop = asyncio.get_running_loop()
        answered = None
        try:
            while answered != self._newest:
                answered = self._newest
                while self._recent and self._recent[0][0] < loop.time() - REMEMBERED:
                    self._recent.popleft()
                recent = [inquiry for _, inquiry in self._recent]
                summary = await self.summarize(recent, answered)
                await store.write_snapshot(name_process(), summary.dump(), EXPIRES)
        except StoreUnavailable:
            pass  # The store itself has logged it.
        except Exception:
            extra = {"reason": "failed"}
            logger.exception("A dashboard cannot be answered", extra=extra)

    async def _find_state(self) -> _State:
        """Return how this process is, or was a moment ago."""
        now = asyncio.get_running_loop().time()
        state = self._state
        if state is None or not 0 <= now - state.taken_at < INTERVAL:
            faults = await self._find_faults()
            state = self._state = _State(now, faults, await self._take())
        return state

    async def _find_most_held(self, hub: Hub, search: str) -> dict[str, int]:
        """Return the channels with most subscribers here, of those a search finds."""
        now = asyncio.get_running_loop().time()
        self._tops = {
            key: found
            for key, found in self._tops.items()
            if 0 <= now - found[0] < INTERVAL
        }
        if search in self._tops:
            return self._tops[search][1]
        top: dict[str, int] = {}
        ids = list(hub.waiting)
        for start in range(0, len(ids), _BATCH):
            for channel_id in ids[start : start + _BATCH]:
                if search in channel_id.lower():
                    top[channel_id] = len(hub.waiting.get(channel_id, ()))
            if len(top) > MAX_TOP:
                top = dict(nlargest(MAX_TOP, top.items(), key=itemgetter(1)))
            await asyncio.sleep(0)  # Let other tasks run.
        self._tops[search] = now, top
        return top


#: The responders of this process, by the names of their stores.
responders: dict[str, Responder] = {}
