"""Crowds of clients that resume, each cheap enough for thousands in one test.

A client is an asyncio protocol without a library, which reads just what it checks: the
numbers that were published, the position, and how its connection ended.
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
from abc import ABC, abstractmethod
from collections import Counter

from .frames import CLOSE, PING, PONG, TEXT, UPGRADE, frame
from .wire import request

#: Seconds between two attempts to connect.
INTERVAL = 0.2

#: The most seconds until a socket that was closed returns, as in ``updates.js``.
SOCKET_DELAY = 2.0


class Client(asyncio.Protocol, ABC):
    """A client that returns with its last id whenever its connection ends.

    Args:
        path: The path of the channel, whose messages are numbers.
        pace: The factor for the time until it returns, 0 for at once.

    Attributes:
        numbers: The messages, in the order in which they came.
        is_open: Whether it is subscribed.
        ends: How each of its connections has ended.
        faults: What a server should not have sent.
    """

    def __init__(self, path: str, pace: float) -> None:
        self.path = path
        self.pace = pace
        self.id = "0:0"
        self.numbers: list[int] = []
        self.is_open = False
        self.ends: list[str] = []
        self.faults: list[str] = []
        self.transport: asyncio.Transport | None = None
        self._closed: asyncio.Future[None] | None = None

    async def run(self, port: int) -> None:
        """Connect, and connect again when the connection has ended, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            self._closed = loop.create_future()
            try:
                await loop.create_connection(lambda: self, "127.0.0.1", port)
            except OSError:
                await asyncio.sleep(INTERVAL)
                continue
            await self._closed
            await asyncio.sleep(self.find_delay() * self.pace)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._head_is_read = False
        self._rest = b""
        self.begin()
        transport.write(self.build_request())

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        if not self._head_is_read:
            head, separator, data = data.partition(b"\r\n\r\n")
            if not separator:
                self._rest = head
                return
            self._head_is_read = True
            self.read_head(head)
        self._rest = self.read(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self._head_is_read:
            self.ends.append(self.describe_end())
        self.is_open = False
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)

    def hear(self, body: str) -> None:
        """Record a message."""
        self.numbers.append(int(body))

    @abstractmethod
    def begin(self) -> None:
        """Forget the last connection."""

    @abstractmethod
    def build_request(self) -> bytes:
        """Return the request that subscribes after the last message."""

    @abstractmethod
    def read_head(self, head: bytes) -> None:
        """Read the head of the response."""

    @abstractmethod
    def read(self, data: bytes) -> bytes:
        """Read what has come, and return the part that is not complete."""

    @abstractmethod
    def describe_end(self) -> str:
        """Return how the connection has ended."""

    @abstractmethod
    def find_delay(self) -> float:
        """Return the seconds after which it returns."""


class EventClient(Client):
    """A client of server-sent events, which returns after the time that it was told."""

    retry = 2000

    def begin(self) -> None:
        self._text = b""
        self._is_whole = False
        self._retries = 0

    def build_request(self) -> bytes:
        accept = "Accept: text/event-stream"
        return request("GET", self.path, accept, f"Last-Event-ID: {self.id}")

    def read_head(self, head: bytes) -> None:
        if not head.startswith(b"HTTP/1.1 200 "):
            self.faults.append(head.decode())

    def read(self, data: bytes) -> bytes:
        while True:
            size, separator, rest = data.partition(b"\r\n")
            if not separator:
                return data
            length = int(size, 16)
            if len(rest) < length + 2:
                return data
            if not length:
                self._is_whole = True
            self._read_text(rest[:length])
            data = rest[length + 2 :]

    def _read_text(self, text: bytes) -> None:
        *blocks, self._text = (self._text + text).split(b"\n\n")
        for block in blocks:
            lines = block.decode().split("\n")
            fields = dict(line.split(": ", 1) for line in lines if line != ":")
            if "retry" in fields:
                self.retry = int(fields["retry"])
                self._retries += 1
            self.id = fields.get("id", self.id)
            if "event" in fields:
                self.faults.append(block.decode())
            elif "data" in fields:
                self.hear(fields["data"])
            self.is_open = True

    def describe_end(self) -> str:
        told = "told" if self._retries == 2 else "not told"
        return f"{told}, whole" if self._is_whole else f"{told}, cut off"

    def find_delay(self) -> float:
        return self.retry / 1000


class SocketClient(Client):
    """A client of WebSockets with the subprotocol ``ws+meta.pushserver``."""

    def begin(self) -> None:
        self._code: int | None = None

    def build_request(self) -> bytes:
        return request(
            "GET",
            f"{self.path}?last_event_id={self.id}",
            *UPGRADE[:-1],
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Protocol: ws+meta.pushserver",
        )

    def read_head(self, head: bytes) -> None:
        if not head.startswith(b"HTTP/1.1 101 "):
            self.faults.append(head.decode())

    def read(self, data: bytes) -> bytes:
        while len(data) >= 2:
            # A control frame, and a number with its lines, are shorter than 126 bytes.
            end = 2 + data[1]
            if len(data) < end:
                break
            self._read_frame(data[0], data[2:end])
            data = data[end:]
        return data

    def _read_frame(self, opcode: int, payload: bytes) -> None:
        assert self.transport is not None
        if opcode == TEXT:
            head, _, body = payload.decode().partition("\n\n")
            lines = dict(line.split(": ", 1) for line in head.split("\n"))
            if "push-gap" in lines:
                self.faults.append(head)
            self.id = lines["id"]
            if body:
                self.hear(body)
            self.is_open = True
        elif opcode == PING:
            self.transport.write(frame(PONG, payload))
        elif opcode == CLOSE:
            self._code = int.from_bytes(payload[:2], "big")
            self.transport.write(frame(CLOSE, payload[:2]))

    def describe_end(self) -> str:
        return "cut off" if self._code is None else str(self._code)

    def find_delay(self) -> float:
        return random.uniform(0.5, 1.0) * SOCKET_DELAY


class Crowd:
    """Streams and sockets on one channel, as an asynchronous context manager.

    Args:
        port: The port of the server.
        path: The path of the channel.
        streams: The number of streams of server-sent events.
        sockets: The number of WebSockets.
        pace: The factor for the time until each returns.
    """

    def __init__(
        self, port: int, path: str, *, streams: int, sockets: int, pace: float = 1.0
    ) -> None:
        self.port = port
        self.streams = [EventClient(path, pace) for _ in range(streams)]
        self.sockets = [SocketClient(path, pace) for _ in range(sockets)]
        self.clients: list[Client] = [*self.streams, *self.sockets]
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Crowd:
        self._tasks = [
            asyncio.ensure_future(each.run(self.port)) for each in self.clients
        ]
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for each in self.clients:
            if each.transport is not None:
                each.transport.abort()
        await asyncio.sleep(0)

    def are_open(self) -> bool:
        """Return whether all are subscribed."""
        return all(each.is_open for each in self.clients)

    def have(self, count: int) -> bool:
        """Return whether all have so many messages."""
        return all(len(each.numbers) >= count for each in self.clients)

    def count_first_ends(self) -> tuple[Counter[str], Counter[str]]:
        """Return how the first connection of each stream and each socket has ended.

        Later ones may have come to a server that was still stopping.
        """
        return (
            Counter(each.ends[0] for each in self.streams),
            Counter(each.ends[0] for each in self.sockets),
        )

    def ends_of_sockets(self) -> set[str]:
        """Return how the connections of sockets have ended."""
        return {end for each in self.sockets for end in each.ends}

    def faults(self) -> list[str]:
        """Return what should not have been sent."""
        return [fault for each in self.clients for fault in each.faults]
