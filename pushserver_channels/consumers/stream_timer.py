"""The timer of a stream: its keep-alives, and the end of its duration."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable


class StreamTimer:
    """Calls a function when nothing was sent for a while, and when the time is over.

    One timer of the event loop serves both. Writing only records the time, so a message
    costs no timer.

    Args:
        loop: The event loop.
        keep_alive: Seconds without a write, after which ``on_idle`` is called, 0 for
            never.
        duration: The most seconds, 0 for no limit. A random part of up to a fifth is
            taken off, so that clients that came at once do not come back at once.
        on_idle: Called without arguments.
        on_expiry: Called without arguments, once.

    Attributes:
        wrote_at: The time of the event loop at which something was written last.
    """

    __slots__ = (
        "_ends_at",
        "_handle",
        "_keep_alive",
        "_loop",
        "_on_expiry",
        "_on_idle",
        "wrote_at",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        keep_alive: float,
        duration: float,
        on_idle: Callable[[], None],
        on_expiry: Callable[[], None],
    ) -> None:
        self.wrote_at = loop.time()
        self._loop = loop
        self._keep_alive = keep_alive
        self._ends_at = 0.0
        if duration:
            self._ends_at = self.wrote_at + duration * random.uniform(0.8, 1.0)
        self._on_idle = on_idle
        self._on_expiry = on_expiry
        self._handle: asyncio.TimerHandle | None = None
        self._schedule()

    def cancel(self) -> None:
        """Call nothing more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _schedule(self) -> None:
        """Schedule the next check."""
        due = [self.wrote_at + self._keep_alive] if self._keep_alive else []
        if self._ends_at:
            due.append(self._ends_at)
        if due:
            self._handle = self._loop.call_at(min(due), self._check)

    def _check(self) -> None:
        self._handle = None
        now = self._loop.time()
        if self._ends_at and now >= self._ends_at:
            self._on_expiry()
            return
        is_idle = self._keep_alive and now >= self.wrote_at + self._keep_alive
        if is_idle:
            self.wrote_at = now
        self._schedule()
        if is_idle:
            self._on_idle()  # It may cancel the timer.
