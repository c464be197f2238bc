"""Limit what a server keeps for a client that reads too slowly.

Some servers keep everything that an application sends until the client has read it;
their ``send`` never waits. Streams check their write buffers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pushserver_channels.client_connection import ClientConnection
from pushserver_channels.types import ASGIMessage

#: Seconds between two checks of the write buffer.
CHECK_INTERVAL = 0.05

#: Seconds without progress in the write buffer, after which the client is too slow.
STALL_TIMEOUT = 1.0


class SlowClient(Exception):
    """The client reads too slowly for the buffer of its stream."""

    reason = "slow"


class WriteBuffer:
    """What was sent on a connection, and not yet read by the client.

    Args:
        connection: The connection.
        limit: The most unsent bytes, 0 for no limit.

    Attributes:
        is_limited: Whether there is a limit, and the server itself has none.
    """

    __slots__ = ("_connection", "_limit", "_sent", "is_limited")

    def __init__(self, connection: ClientConnection, limit: int) -> None:
        self._connection = connection
        self._limit = limit
        self._sent = 0
        self.is_limited = bool(limit) and connection.never_waits

    def has_room(self, event: ASGIMessage) -> bool:
        """Return whether there is room for more after an event that was sent.

        If the number of unsent bytes is unknown, all that was sent counts.

        Raises :class:`SlowClient` if that is more than the limit.
        """
        unsent = self._connection.count_unsent()
        if unsent is not None:
            return unsent <= self._limit
        self._sent += len(event.get("body") or event.get("bytes") or b"")
        self._sent += len(event.get("text") or "")
        if self._sent > self._limit:
            raise SlowClient
        return True

    async def wait_until_read(self, is_over: Callable[[], bool]) -> None:
        """Wait until the buffer is half empty.

        Args:
            is_over: Returns whether to wait no longer, because the stream has ended.

        Raises :class:`SlowClient` if the client reads nothing.
        """
        if not self.is_limited:
            return
        unsent = self._connection.count_unsent() or 0
        stalled_checks = 0
        while unsent > self._limit // 2 and not is_over():
            await asyncio.sleep(CHECK_INTERVAL)
            left = self._connection.count_unsent() or 0
            stalled_checks = stalled_checks + 1 if left >= unsent else 0
            unsent = left
            if stalled_checks * CHECK_INTERVAL >= STALL_TIMEOUT:
                raise SlowClient
