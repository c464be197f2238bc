"""One timer for thousands of equal time limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from itertools import takewhile
from math import inf
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)

#: Seconds by which an item may expire late, so that items due at almost the same time
#: share one run of the timer.
PRECISION = 0.01


class Deadlines(Generic[Item]):
    """Items that expire the same number of seconds after they were added.

    The item added first expires first, so one timer of the event loop is enough. Most
    items are removed before they expire; each costs an entry in a dict instead of a
    timer that is created, sorted and cancelled.

    Args:
        seconds: The time limit in seconds.
        expire: Called with each item that expires.
    """

    def __init__(self, seconds: float, expire: Callable[[Item], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        self._seconds = seconds
        self._expire = expire
        self._due: dict[Item, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._due)

    def add(self, item: Item) -> None:
        """Add an item, which expires after the time limit. It must not be here yet."""
        self._due[item] = due = self._time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._expire_due)

    def restart(self, item: Item) -> None:
        """Start the time limit of an item again."""
        self.discard(item)
        self.add(item)

    def discard(self, item: Item) -> None:
        """Remove an item, if it is here. The timer keeps running for the next one."""
        self._due.pop(item, None)

    def expire_all(self) -> None:
        """Expire all items now."""
        items, self._due = self._due, {}
        for item in items:
            self._expire(item)

    def close(self) -> None:
        """Remove all items, without expiring them, and cancel the timer."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire_due(self) -> None:
        """Expire the items whose time limit has passed, and set the timer again."""
        self._timer = None
        now = self._time()
        # In one pass: finding the first item of a dict walks over the slots of all
        # items that were removed before it.
        for item in list(takewhile(lambda item: self._due[item] <= now, self._due)):
            # Expiring an earlier item may have removed or restarted this one.
            if self._due.get(item, inf) <= now:
                del self._due[item]
                self._expire(item)
        if self._due:
            due = next(iter(self._due.values()))
            if self._timer is not None:
                # An item restarted just now has set it; others may expire earlier.
                self._timer.cancel()
            self._timer = self._loop.call_at(
                max(due, now + PRECISION), self._expire_due
            )
