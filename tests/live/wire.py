"""HTTP as bytes to a server and back, including those that no HTTP client sends."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

from tests.waiting import PATIENCE, until


@dataclass(frozen=True)
class Answer:
    """The response of a server."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def __getitem__(self, name: str) -> str | None:
        """Return the value of a header, or None; fail if it is given twice."""
        values = [value for key, value in self.headers if key == name.lower()]
        assert len(values) < 2, f"{name} is given twice: {values}"
        return values[0] if values else None


def request(
    method: str | bytes,
    path: str | bytes,
    *headers: str | bytes,
    body: bytes | None = None,
) -> bytes:
    """Return the bytes of a request, with a Content-Length if there is a body."""
    lines = [_bytes(method) + b" " + _bytes(path) + b" HTTP/1.1", b"Host: testserver"]
    lines += [_bytes(header) for header in headers]
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


def chunked(*parts: bytes) -> bytes:
    """Return a body in chunked transfer encoding."""
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (*parts, b""))


def _bytes(text: str | bytes) -> bytes:
    return text.encode("latin-1") if isinstance(text, str) else text


class Wire:
    """A connection to a local server.

    Attributes:
        opened: All connections that a test has opened, to be closed after it.
    """

    opened: ClassVar[list[Wire]] = []

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.opened.append(self)

    @classmethod
    async def open(cls, port: int) -> Wire:
        """Open a connection."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def __aenter__(self) -> Wire:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.abort()

    async def send(self, data: bytes) -> None:
        """Send data, and ignore an error if the server has closed the connection."""
        self.writer.write(data)
        with suppress(ConnectionError):
            await asyncio.wait_for(self.writer.drain(), PATIENCE)

    async def ask(
        self,
        method: str,
        path: str,
        *headers: str | bytes,
        body: bytes | None = None,
    ) -> Answer:
        """Send a request, and return the response."""
        await self.send(request(method, path, *headers, body=body))
        return await self.answer(method)

    async def answer(self, method: str = "GET") -> Answer:
        """Return the next response, which is one to a request with this method."""
        return await asyncio.wait_for(self._answer(method), PATIENCE)

    async def _answer(self, method: str) -> Answer:
        head = await self.reader.readuntil(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")[:-2]
        protocol, status = status_line.split(" ", 2)[:2]
        assert protocol in ("HTTP/1.0", "HTTP/1.1"), head
        headers = [
            (name.lower(), value.strip(" "))
            for name, _, value in (line.partition(":") for line in lines)
        ]
        answer = Answer(int(status), headers, b"")
        if method == "HEAD" or answer.status in (204, 304):
            return answer
        return Answer(answer.status, headers, await self._body(answer))

    async def _body(self, answer: Answer) -> bytes:
        if answer["transfer-encoding"] == "chunked":
            parts = []
            while size := int(await self.reader.readline(), 16):
                parts.append(await self.reader.readexactly(size))
                assert await self.reader.readexactly(2) == b"\r\n"
            assert await self.reader.readexactly(2) == b"\r\n"
            return b"".join(parts)
        if answer["content-length"] is not None:
            return await self.reader.readexactly(int(answer["content-length"]))
        return await self.reader.read()

    async def rest(self) -> bytes:
        """Return all data until the server closes the connection."""
        parts = []
        while part := await self.some():
            parts.append(part)
        return b"".join(parts)

    async def some(self) -> bytes:
        """Return the next data, or nothing if the connection is closed."""
        with suppress(ConnectionError):
            return await asyncio.wait_for(self.reader.read(65536), PATIENCE)
        return b""

    def end_sending(self) -> None:
        """Close the connection for sending, but not for reading."""
        with suppress(OSError):  # The server may have closed the connection.
            self.writer.write_eof()

    def reset(self) -> None:
        """Reset the connection."""
        linger = struct.pack("ii", 1, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.abort()

    def abort(self) -> None:
        """Close the connection at once."""
        self.writer.transport.abort()

    @property
    def socket(self) -> socket.socket:
        found: socket.socket = self.writer.get_extra_info("socket")
        return found


async def subscribers(port: int, channel_id: str) -> int | None:
    """Return the number of requests held on a channel, None if it does not exist."""
    async with await Wire.open(port) as wire:
        answer = await wire.ask("GET", f"/send-update/{channel_id}")
        if answer.status == 404:
            return None
        assert answer.status == 200
        lines = dict(line.split(b": ") for line in answer.body.split(b"\r\n"))
        return int(lines[b"active subscribers"])


async def until_held(port: int, channel_id: str, count: int = 1) -> None:
    """Wait until this number of requests is held on a channel."""

    async def are_held() -> bool:
        return await subscribers(port, channel_id) == count

    await until(are_held)


async def publish(port: int, channel_id: str, body: bytes = b"news") -> int:
    """Publish a message, and return the status."""
    async with await Wire.open(port) as wire:
        path = f"/send-update/{channel_id}"
        return (await wire.ask("POST", path, body=body)).status
