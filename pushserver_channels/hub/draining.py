"""End what a process holds bit by bit, so that its clients come back to others."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable

from pushserver.conf import get_settings

from .hub import Hub

logger = logging.getLogger("pushserver.server")

#: Seconds between two steps of a drain.
INTERVAL = 0.05

_EXTRA = {"reason": "draining"}


class Draining:
    """Ends what the hubs of this process hold, one after the other.

    Clients are told that their time is up, so they come back at once: by then to
    another process, if what distributes them has seen that this one is not ready.

    Args:
        hubs: The hubs.
        is_stopping: Returns whether the server stops.

    Attributes:
        is_active: Whether the process drains, and so should get no new requests.
    """

    def __init__(self, hubs: Iterable[Hub], is_stopping: Callable[[], bool]) -> None:
        self._hubs = hubs
        self._is_stopping = is_stopping
        self._resting: asyncio.Task[None] | None = None
        self._is_before_stop = False
        self.is_active = False

    def reset(self) -> None:
        """Forget the drain of another server."""
        self._resting = None
        self.is_active = self._is_before_stop = False

    async def end_held(self) -> None:
        """End all that is held now in ``drain`` seconds, before the server stops."""
        self._activate()
        self._is_before_stop = True
        await self._end_held()

    def begin(self) -> None:
        """End all that is held, now and later, until :meth:`undo`.

        Clients may come back to this process before what distributes them has seen that
        it is not ready.
        """
        self._activate()
        if self._resting is None or self._resting.done():
            self._resting = asyncio.get_running_loop().create_task(self._rest())

    def undo(self) -> None:
        """Serve as before, unless the server is about to stop."""
        if self.is_active and not self._is_before_stop:
            self.is_active = False
            logger.info("The drain was undone", extra=_EXTRA)

    def _activate(self) -> None:
        if not self.is_active:
            self.is_active = True
            logger.info("The process drains", extra=_EXTRA)

    async def _rest(self) -> None:
        while self._goes_on() and not self._is_before_stop:
            await self._end_held()
            await asyncio.sleep(INTERVAL)

    async def _end_held(self) -> None:
        """End all that is held now, in ``drain`` seconds."""
        seconds = get_settings().drain
        held = [(hub, cursor) for hub in self._hubs for cursor in hub.list_held()]
        random.shuffle(held)  # Not all of a channel at once.
        if held:
            text = "Ending %d subscriptions within %g seconds"
            logger.info(text, len(held), seconds, extra=_EXTRA)
        loop = asyncio.get_running_loop()
        started = loop.time()
        ended = 0
        while self._goes_on() and (past := loop.time() - started) < seconds:
            due = int(len(held) * past / seconds) + 1
            for hub, cursor in held[ended:due]:
                hub.expire(cursor)
            ended = max(ended, due)
            await asyncio.sleep(INTERVAL)
        if self._goes_on():
            for hub, cursor in held[ended:]:
                hub.expire(cursor)

    def _goes_on(self) -> bool:
        """Return whether the drain was not undone, and the server does not stop."""
        return self.is_active and not self._is_stopping()
