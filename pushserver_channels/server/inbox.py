"""The queue of ASGI messages that an application receives."""

from __future__ import annotations

import asyncio
from collections import deque

from pushserver_channels.types import ASGIMessage


class Inbox:
    """An unbounded queue of the ASGI messages for one application.

    It takes a tenth of the memory of an ``asyncio.Queue``, which Daphne makes for each
    request. It is optimized for one receiving task.
    """

    __slots__ = ("_arrival", "_messages")

    def __init__(self) -> None:
        self._messages: deque[ASGIMessage] = deque()
        self._arrival: asyncio.Future[None] | None = None

    def put_nowait(self, message: ASGIMessage) -> None:
        """Add a message."""
        self._messages.append(message)
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    async def get(self) -> ASGIMessage:
        """Remove the oldest message and return it; wait if there is none."""
        while not self._messages:
            if self._arrival is not None and not self._arrival.done():
                # Another task waits already; wait until it has got a message or given
                # up.
                await asyncio.wait([self._arrival])
                continue
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        return self._messages.popleft()
