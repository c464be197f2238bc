"""What an application receives."""

from __future__ import annotations

import asyncio
from collections import deque

from pushserver_channels.types import ASGIMessage


class Inbox:
    """What the client of a request does, for its application to receive.

    A tenth of the size of an ``asyncio.Queue``, of which Daphne makes one for each
    request: it is mostly one task that receives, and nobody waits for room.
    """

    __slots__ = ("_arrival", "_messages")

    def __init__(self) -> None:
        self._messages: deque[ASGIMessage] = deque()
        self._arrival: asyncio.Future[None] | None = None

    def put_nowait(self, message: ASGIMessage) -> None:
        self._messages.append(message)
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    async def get(self) -> ASGIMessage:
        while not self._messages:
            if self._arrival is not None and not self._arrival.done():
                # Another task receives: after it, or in its place if it gives up.
                await asyncio.wait([self._arrival])
                continue
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        return self._messages.popleft()
