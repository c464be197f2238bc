"""A small HTTP client that raises an error when the network fails."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """A response of a server."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """Sends requests to servers on loopback, over one connection to each."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}

    async def ask(
        self,
        port: int,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        timeout: float = 60.0,
    ) -> Answer:
        """Return the response to a request; raises ``OSError`` if there is none."""
        try:
            return await asyncio.wait_for(
                self._ask(port, method, path, headers or {}, body), timeout
            )
        except (OSError, EOFError, ValueError, asyncio.TimeoutError) as error:
            self._hang_up(port)
            raise ConnectionError(f"no answer: {error!r}") from error
        except BaseException:
            self._hang_up(port)
            raise

    async def _ask(
        self, port: int, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> Answer:
        if port not in self._open:
            self._open[port] = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = self._open[port]
        lines = [
            f"{method} {path} HTTP/1.1",
            "Host: localhost",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        if method != "GET":
            lines.append(f"Content-Length: {len(body)}")
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = (line.split(": ", 1) for line in head[1:] if line)
        told = {name.lower(): value for name, value in fields}
        content = b""
        if "content-length" in told:
            content = await reader.readexactly(int(told["content-length"]))
        elif told.get("transfer-encoding") == "chunked":
            while size := int((await reader.readline()).split(b";")[0], 16):
                content += await reader.readexactly(size)
                await reader.readline()
            await reader.readline()
        if told.get("connection", "").lower() == "close":
            self._hang_up(port)
        return Answer(int(head[0].split()[1]), told, content)

    def _hang_up(self, port: int) -> None:
        _, writer = self._open.pop(port, (None, None))
        if writer is not None:
            writer.transport.abort()

    def close(self) -> None:
        """Close all connections."""
        for port in list(self._open):
            self._hang_up(port)
