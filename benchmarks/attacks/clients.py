"""The attacks: coroutine functions of a port and a size, which return what they did."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

#: Connections of an attack by requests, and requests in one write.
CONNECTIONS = 10
BATCH = 50

#: The bytes of a large body.
LARGE = 8 * 1024 * 1024

#: Seconds in which headers are sent.
SLOWLY = 70

#: Makes close() send a RST.
_RESET = struct.pack("ii", 1, 0)


@dataclass
class Outcome:
    """What an attack has done.

    Attributes:
        count: How many requests, connections or bytes it is about.
        said: What happened to them.
    """

    count: int
    said: str


def request(path: str, *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]
    return "\r\n".join(lines).encode()


async def ask_random_ids(port: int, size: int) -> Outcome:
    """Ask for channels that do not exist, each once."""
    return await _poll(port, size, lambda: f"/interval/{os.urandom(8).hex()}")


async def poll_quickly(port: int, size: int) -> Outcome:
    """Ask for one channel again and again."""
    return await _poll(port, size, lambda: "/interval/witness")


async def _poll(port: int, size: int, path: Callable[[], str]) -> Outcome:
    started = time.perf_counter()

    async def ask(count: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while count > 0:
            batch = min(BATCH, count)
            writer.write(b"".join(request(path()) for _ in range(batch)))
            for _ in range(batch):
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(_read_length(head))
            count -= batch
        writer.close()

    await asyncio.gather(*(ask(size // CONNECTIONS) for _ in range(CONNECTIONS)))
    rate = size / (time.perf_counter() - started)
    return Outcome(size, f"{rate:,.0f} requests a second")


def _read_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


async def hold_requests(port: int, size: int) -> Outcome:
    """Wait on many requests from one address."""
    held = refused = 0
    connections = []
    for number in range(size):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            refused += 1
            continue
        writer.write(request(f"/updates/held-{number % 100}"))
        connections.append((reader, writer))
    await asyncio.sleep(2)
    for reader, writer in connections:
        try:
            await asyncio.wait_for(reader.readline(), 0.001)
            refused += 1
        except asyncio.TimeoutError:
            held += 1
        except OSError:
            refused += 1
        writer.close()
    return Outcome(size, f"{held:,} held, {refused:,} refused")


async def send_slow_headers(port: int, size: int) -> Outcome:
    """Send the headers of many requests a byte at a time."""
    connections = []
    for _ in range(size):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /updates/slow HTTP/1.1\r\nX-Slow: ")
        connections.append((reader, writer))
    ended = time.monotonic() + SLOWLY
    while time.monotonic() < ended:
        for reader, writer in connections:
            if not (reader.at_eof() or writer.is_closing()):
                writer.write(b"a")
        await asyncio.sleep(1)
    still_open = sum(
        not (reader.at_eof() or writer.is_closing()) for reader, writer in connections
    )
    for _, writer in connections:
        writer.close()
    return Outcome(size, f"{still_open:,} still open after {SLOWLY} s")


async def send_large_bodies(port: int, size: int) -> Outcome:
    """Send requests that subscribe with a body of 8 MiB."""
    accepted = 0

    async def send() -> None:
        nonlocal accepted
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("/updates/large", f"Content-Length: {LARGE}"))
        with suppress(OSError):
            for _ in range(LARGE // 65_536):
                writer.write(bytes(65_536))
                await writer.drain()
                accepted += 65_536
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readline()
        writer.close()

    for _ in range(0, size, CONNECTIONS):
        await asyncio.gather(*(send() for _ in range(CONNECTIONS)))
    return Outcome(size, f"{accepted / size / 1024:,.0f} KiB of each were taken")


async def reset_connections(port: int, size: int) -> Outcome:
    """Reset connections whose request is held, as soon as it was sent."""
    started = time.perf_counter()
    for number in range(size):
        with suppress(OSError):
            client = socket.create_connection(("127.0.0.1", port))
            client.sendall(request(f"/updates/reset-{number % 100}"))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            client.close()
        if not number % 20:
            await asyncio.sleep(0)
    rate = size / (time.perf_counter() - started)
    return Outcome(size, f"{rate:,.0f} connections a second")


def allow_open_files() -> None:
    """Let this process and its servers open as many files as may be."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
