"""A subscriber and a publisher that the attack is not about."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

#: Seconds between two messages.
INTERVAL = 0.05

_STREAM = (
    b"GET /updates/witness HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Accept: text/event-stream\r\n\r\n"
)


class Witness:
    """Publishes on a channel, and measures when its subscriber has each message.

    Args:
        port: The port of the server.

    Attributes:
        delays: Seconds from each publish to its delivery.
        failures: How often a message was not published, or not within a second.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.delays: list[float] = []
        self.failures = 0
        self._published: dict[bytes, float] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Witness:
        reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(_STREAM)
        await reader.readuntil(b": hi")
        self._tasks = [
            asyncio.create_task(self._listen(reader)),
            asyncio.create_task(self._publish()),
        ]
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._writer.close()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            published = self._published.pop(line.strip().removeprefix(b"data: "), None)
            if published is not None:
                self.delays.append(time.perf_counter() - published)

    async def _publish(self) -> None:
        number = 0
        while True:
            number += 1
            body = b"message-%d" % number
            self._published[body] = time.perf_counter()
            try:
                await asyncio.wait_for(self._post(body), 1)
            except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
                self.failures += 1
            await asyncio.sleep(INTERVAL)

    async def _post(self, body: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(
                b"POST /send-update/witness HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            status = await reader.readline()
            if b" 20" not in status:
                raise OSError(status)
        finally:
            writer.close()
