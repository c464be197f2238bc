"""Clients of streams that come back with the id of their last message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import httpx
import httpx_sse
import websockets

from tests import http
from tests.server.streams import EventReader

#: The id and the body of each message, until the stream ends.
Messages = AsyncIterator[tuple[str, str]]

#: Seconds between two tries to come back.
INTERVAL = 0.2

#: The position before all messages.
BEGINNING = "0:0"


async def read_httpx_sse(port: int, path: str, last_id: str) -> Messages:
    """Yield what ``httpx-sse`` reads."""
    headers = {"Last-Event-ID": last_id}
    async with http.AsyncClient(timeout=None) as client:
        url = f"http://127.0.0.1:{port}{path}"
        async with httpx_sse.aconnect_sse(
            client, "GET", url, headers=headers
        ) as source:
            async for event in source.aiter_sse():
                if event.event == "message" and event.data:
                    yield event.id, event.data


async def read_websockets(port: int, path: str, last_id: str) -> Messages:
    """Yield what ``websockets`` reads with the subprotocol ``ws+meta.pushserver``."""
    url = f"ws://127.0.0.1:{port}{path}?last_event_id={last_id}"
    offered = [websockets.Subprotocol("ws+meta.pushserver")]
    async with websockets.connect(url, subprotocols=offered) as socket:
        async for message in socket:
            head, _, body = str(message).partition("\n\n")
            lines = dict(line.split(": ", 1) for line in head.split("\n"))
            assert "push-gap" not in lines, lines
            if body:
                yield lines["id"], body


async def read_curl(port: int, path: str, last_id: str) -> Messages:
    """Yield what ``curl -N`` prints."""
    process = await asyncio.create_subprocess_exec(
        *("curl", "-N", "-s", "-H", "Accept: text/event-stream"),
        *("-H", f"Last-Event-ID: {last_id}", f"http://127.0.0.1:{port}{path}"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    reader, seen = EventReader(), 0
    try:
        while data := await process.stdout.read(65536):
            reader.feed(data)
            for event in reader.events[seen:]:
                seen += 1
                if event.name == "message":
                    yield event.id, event.data
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


CLIENTS: dict[str, Callable[[int, str, str], Messages]] = {
    "httpx-sse": read_httpx_sse,
    "websockets": read_websockets,
    "curl": read_curl,
}


class Resuming:
    """A client that comes back whenever its stream ends.

    Args:
        read: Opens a stream once, and reads it.
        port: The port of the server.
        path: The path of the channel.

    Attributes:
        bodies: What it was sent.
        returns: How often it came back.
    """

    def __init__(
        self, read: Callable[[int, str, str], Messages], port: int, path: str
    ) -> None:
        self._read = read
        self._port = port
        self._path = path
        self._last_id = BEGINNING
        self.bodies: list[str] = []
        self.returns = -1

    async def run(self, count: int) -> None:
        """Read until it has so many messages."""
        while len(self.bodies) < count:
            self.returns += 1
            try:
                async with aclosing(
                    self._read(self._port, self._path, self._last_id)
                ) as messages:
                    async for self._last_id, body in messages:
                        self.bodies.append(body)
                        if len(self.bodies) >= count:
                            return
            except (OSError, httpx.TransportError, websockets.WebSocketException):
                pass
            await asyncio.sleep(INTERVAL)
