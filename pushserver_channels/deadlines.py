"""Time limits by the thousand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from itertools import takewhile
from math import inf
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)

#: Seconds that an item may be late, so that those due about now are looked for once.
PRECISION = 0.01


class Deadlines(Generic[Item]):
    """Items that are due the same number of seconds after they were added.

    Who came first is due first, so one timer of the event loop does for all of them.
    An item that is not waited for to the end, as most are, costs an entry in a dict
    and not a timer that is made, sorted in and cancelled.

    Args:
        seconds: The time limit.
        expire: Called with each item that is due.
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
        """Let an item, which is not here, be due after the time limit."""
        self._due[item] = due = self._time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._look)

    def restart(self, item: Item) -> None:
        """Let the time limit of an item begin anew."""
        self.discard(item)
        self.add(item)

    def discard(self, item: Item) -> None:
        """Let an item be due no more; one that is not here does no harm.

        The timer stays, for whoever comes next.
        """
        self._due.pop(item, None)

    def expire_all(self) -> None:
        """Let all items be due now."""
        items, self._due = self._due, {}
        for item in items:
            self._expire(item)

    def close(self) -> None:
        """Let no item be due any more."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        now = self._time()
        # Found in one go: to look for the first in a dict is to walk past the places of
        # all who were there before it.
        for item in list(takewhile(lambda item: self._due[item] <= now, self._due)):
            # It may have gone, or started anew, when one before it was due.
            if self._due.get(item, inf) <= now:
                del self._due[item]
                self._expire(item)
        if self._due:
            due = next(iter(self._due.values()))
            if self._timer is not None:
                # Of one that started anew just now: others may be due before it.
                self._timer.cancel()
            self._timer = self._loop.call_at(max(due, now + PRECISION), self._look)
