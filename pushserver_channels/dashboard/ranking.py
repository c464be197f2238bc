"""The channels of a store in the order in which a page shows them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from heapq import nlargest
from operator import itemgetter
from typing import Any, NamedTuple

from pushserver_channels.exceptions import StoreUnavailable
from pushserver_channels.messages import MessageId
from pushserver_channels.stores import Store
from pushserver_channels.stores.figures import ChannelFigures

#: The most channels that are ranked; of more, a search finds the others.
MAX_RANKED = 1000

#: The most seconds in which channels are looked at, where that goes on after an answer,
#: and where the answer waits for it.
MAX_SECONDS = 20.0
MAX_WAIT = 4.0

#: The most seconds that an answer waits for a ranking that goes on after it.
PATIENCE = 0.3

#: A ranking is made again after so many seconds, or after so many times the time that
#: it took: then looking at it costs at most a twentieth of a process and of Redis.
MIN_AGE = 5.0
AGE_FACTOR = 20

#: The most rankings that are kept, and that are made at the same time.
MAX_RANKINGS = 8
MAX_RUNNING = 2

NO_MESSAGE = MessageId(0, 0)

#: The name of a store, a search and a key of :data:`SORTS`.
Key = tuple[str, str, str]


class Row(NamedTuple):
    """A channel in the list.

    Attributes:
        figures: What its store tells about it.
        held: How many subscribers it has, in all processes.
    """

    figures: ChannelFigures
    held: int


#: How channels can be sorted: what is compared, the largest first. Equal ones are
#: sorted by their ids.
SORTS: dict[str, Callable[[Row], Any]] = {
    "held": lambda row: row.held,
    "messages": lambda row: row.figures.messages,
    "rate": lambda row: row.figures.per_minute,
    "newest": lambda row: row.figures.last_message_id,
    "id": lambda row: 0,
}


class Ranking(NamedTuple):
    """Channels in an order.

    Attributes:
        channel_ids: The first of them.
        total: How many there are in all.
        is_complete: Whether all channels were looked at.
        is_running: Whether others are still looked at.
        expires_at: When to make it again, by ``time.monotonic()``.
    """

    channel_ids: list[str]
    total: int
    is_complete: bool
    is_running: bool
    expires_at: float


class Ranker:
    """Looks at all channels of a store, and puts them in an order.

    Args:
        store: The store.
        held: How many subscribers channels have, at least those with most of them.
        search: A part of their ids in lower case, empty for all.
        sort: A key of :data:`SORTS`.
    """

    def __init__(
        self, store: Store, held: Mapping[str, int], search: str, sort: str
    ) -> None:
        self._store = store
        self._held = held
        self._search = search
        self._rates = sort == "rate"
        self._top = _Top(SORTS[sort])
        self._total = 0
        self._is_complete = False
        # Those on which nobody has published may exist in the processes only. (Those
        # with subscribers are known at once, before the store was looked through.)
        self._others = {each for each in held if self._matches(each)}
        for channel_id in self._others:
            figures = ChannelFigures(channel_id, 0, NO_MESSAGE, 0.0)
            self._top.add(Row(figures, held[channel_id]))

    async def run(self, seconds: float) -> Ranking:
        """Look at all channels, and return the order.

        Args:
            seconds: The most seconds that it may take.
        """
        started = time.monotonic()
        async for some in self._store.scan(self._matches, rates=self._rates):
            self._total += len(some)
            for figures in some:
                channel_id = figures.channel_id
                self._others.discard(channel_id)
                self._top.add(Row(figures, self._held.get(channel_id, 0)))
            if time.monotonic() - started > seconds:
                break
        else:
            self._is_complete = True
        now = time.monotonic()
        return self.show()._replace(
            is_running=False,
            expires_at=now + max(MIN_AGE, AGE_FACTOR * (now - started)),
        )

    def show(self) -> Ranking:
        """Return the order of those channels that were looked at so far."""
        total = self._total + len(self._others)
        return Ranking(self._top.list_ids(), total, self._is_complete, True, 0.0)

    def _matches(self, channel_id: str) -> bool:
        return self._search in channel_id.lower()


class _Top:
    """The first of many channels.

    Args:
        find_value: Returns what they are sorted by.
    """

    def __init__(self, find_value: Callable[[Row], Any]) -> None:
        self._find_value = find_value
        self._rows: dict[str, Any] = {}
        # What the last of those has that are certainly the first so far.
        self._least: Any = None
        self._last = ""

    def add(self, row: Row) -> None:
        """Note a channel, if it may be one of the first."""
        value, channel_id = self._find_value(row), row.figures.channel_id
        if self._last and (
            value < self._least or (value == self._least and channel_id > self._last)
        ):
            return
        self._rows[channel_id] = value
        if len(self._rows) >= 2 * MAX_RANKED:
            self._cut()

    def list_ids(self) -> list[str]:
        """Return the first in their order."""
        self._cut()
        return list(self._rows)

    def _cut(self) -> None:
        by_id = sorted(self._rows.items(), key=itemgetter(0))
        self._rows = dict(nlargest(MAX_RANKED, by_id, key=itemgetter(1)))
        if len(self._rows) == MAX_RANKED:
            self._last, self._least = next(reversed(self._rows.items()))


class Rankings:
    """The rankings that are being made, or were made a moment ago.

    Many who look at the same share one, and it is not made again for each page of it.
    """

    def __init__(self) -> None:
        self._made: dict[Key, Ranking] = {}
        self._making: dict[Key, tuple[Ranker, asyncio.Task[Ranking]]] = {}
        self._free = asyncio.Semaphore(MAX_RUNNING)

    def find(self, key: Key) -> Ranking | None:
        """Return the ranking that was made a moment ago, or as far as it is made."""
        self._forget_expired()
        if key in self._making:
            return self._making[key][0].show()
        return self._made.get(key)

    async def make(self, key: Key, ranker: Ranker, *, goes_on: bool) -> Ranking:
        """Return a ranking, or what there is of it after a moment.

        Args:
            key: What it is found by.
            ranker: Makes it.
            goes_on: Whether this event loop runs after the answer.
        """
        loop = asyncio.get_running_loop()
        if not goes_on:
            return self._keep(key, await ranker.run(MAX_WAIT))
        if key not in self._making or self._making[key][1].get_loop() is not loop:
            task = loop.create_task(self._make(key, ranker))
            self._making[key] = ranker, task
        ranker, task = self._making[key]
        await asyncio.wait([task], timeout=PATIENCE)
        return task.result() if task.done() else ranker.show()

    async def _make(self, key: Key, ranker: Ranker) -> Ranking:
        try:
            async with self._free:
                made = await ranker.run(MAX_SECONDS)
        except StoreUnavailable:
            made = ranker.show()._replace(is_running=False)
        finally:
            del self._making[key]
        # Nothing is left when nobody looks any more.
        delay = made.expires_at - time.monotonic()
        asyncio.get_running_loop().call_later(max(delay, 0), self._forget_expired)
        return self._keep(key, made)

    def _keep(self, key: Key, made: Ranking) -> Ranking:
        while len(self._made) >= MAX_RANKINGS:
            del self._made[next(iter(self._made))]
        self._made[key] = made
        return made

    def _forget_expired(self) -> None:
        now = time.monotonic()
        self._made = {
            key: each for key, each in self._made.items() if each.expires_at > now
        }
