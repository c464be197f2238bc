"""Clients that connect and vanish at any moment: the memory should not grow."""

from __future__ import annotations

import asyncio
import os
import random
import time
from contextlib import suppress

from benchmarks import cores
from benchmarks.processes import Server
from benchmarks.servers import Contender

from .base import Alone, Effort, Reading, Start

#: The number of clients at a time, and the most seconds for which each stays.
CLIENTS = 500
STAY = 1.0

#: The part of the time before the first measurement, in which the memory grows.
WARM_UP = 0.3


def measure(contender: Contender, start: Start, effort: Effort) -> Reading:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores.LOAD)
    try:
        with start() as server:
            return asyncio.run(_measure(server, effort.minutes * 60))
    finally:
        os.sched_setaffinity(0, before)


async def _measure(server: Server, seconds: float) -> Reading:
    start = time.monotonic()
    end = start + seconds
    clients = asyncio.gather(
        _publish(server, end), *(_come_and_go(server, end) for _ in range(CLIENTS))
    )
    levels = []
    while time.monotonic() < end:
        await asyncio.sleep(min(1.0, seconds / 20))
        if time.monotonic() > start + seconds * WARM_UP:
            levels.append(server.memory)
    _, *came = await clients
    third = max(len(levels) // 3, 1)
    first, last = max(levels[:third]), max(levels[-third:])
    return Reading(
        (last - first) / first * 100,
        more={"clients": sum(came), "first_mb": first / 1e6, "last_mb": last / 1e6},
    )


async def _come_and_go(server: Server, end: float) -> int:
    """Connect and vanish again and again; return how often."""
    came = 0
    while time.monotonic() < end:
        came += 1
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            channel = random.randrange(100)
            request = f"GET /updates/{channel} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
            # Some vanish in the middle of their request.
            whole = random.random() < 0.9
            writer.write(request.encode()[: None if whole else 20])
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(reader.read(1), random.uniform(0, STAY))
            writer.transport.abort()
    return came


async def _publish(server: Server, end: float) -> None:
    while time.monotonic() < end:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            channel = random.randrange(100)
            writer.write(
                f"POST /send-update/{channel} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                "Content-Length: 4\r\nConnection: close\r\n\r\nnews".encode()
            )
            await asyncio.sleep(0.02)
            writer.transport.abort()


CHURN = Alone(
    name="churn",
    unit="% more memory",
    servers=("daphne", "runpushserver", "uvicorn"),
    measure=measure,
    turns=1,
)
