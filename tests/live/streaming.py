"""Streams of server-sent events from real servers."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from tests.server.streams import EventReader
from tests.waiting import PATIENCE, until

from .wire import Wire, request


class LiveStream(EventReader):
    """A stream of server-sent events from a local server.

    Attributes:
        status: The status of the response.
        head: The headers of the response.
        has_ended: Whether the stream has ended.
        is_whole: Whether it ended regularly, and was not cut off.
    """

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self.wire = wire
        self.status = 0
        self.head: dict[str, str] = {}
        self.has_ended = self.is_whole = False
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, port: int, path: str, *headers: str) -> LiveStream:
        """Open a stream, and return it once its first event or comment has come."""
        stream = cls(await Wire.open(port))
        await stream.ask(path, *headers)
        stream.go_on()
        await until(lambda: stream.comments or stream.events or stream.has_ended)
        return stream

    async def ask(self, path: str, *headers: str) -> None:
        """Send the request, and read the headers of the response."""
        accept = "Accept: text/event-stream"
        await self.wire.send(request("GET", path, accept, *headers))
        reader = self.wire.reader
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        status, *lines = head.decode("latin-1").split("\r\n")[:-2]
        self.status = int(status.split(" ")[1])
        self.head = {
            name.lower(): value.strip(" ")
            for name, _, value in (line.partition(":") for line in lines)
        }

    def go_on(self) -> None:
        """Start to read the stream in a task."""
        self._task = asyncio.ensure_future(self._read_all())

    async def _read_all(self) -> None:
        reader = self.wire.reader
        with suppress(ConnectionError, asyncio.IncompleteReadError, ValueError):
            if "content-length" in self.head:
                self.feed(await reader.readexactly(int(self.head["content-length"])))
                self.is_whole = True
            while not self.is_whole:
                size = int(await reader.readline(), 16)
                self.feed(await reader.readexactly(size))
                assert await reader.readexactly(2) == b"\r\n"
                self.is_whole = not size
        self.has_ended = True

    async def until(self, count: int) -> list[str]:
        """Wait for this number of messages, and return their data."""
        await until(lambda: len(self.bodies) >= count or self.has_ended)
        return self.bodies

    async def until_ended(self) -> None:
        """Wait until the stream has ended."""
        await until(lambda: self.has_ended)

    def close(self) -> None:
        """Close the connection."""
        if self._task is not None:
            self._task.cancel()
        self.wire.abort()
