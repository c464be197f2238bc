"""Servers that end what they hold before they stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.conformance.servers import granian, uvicorn
from tests.servers import LOCATIONS, ServerProcess, daphne, runpushserver
from tests.tiers import in_tier
from tests.waiting import until

from .wire import publish, until_held

CONF: dict[str, Any] = {
    "locations": [
        LOCATIONS[0],
        {"type": "subscriber", "url": "/updates/([^/]+)", "create_on_get": True},
        {"type": "health", "url": "/health"},
    ]
}

SERVERS: dict[str, Callable[[dict[str, Any]], ServerProcess]] = {
    "daphne": daphne,
    "runpushserver": lambda conf: runpushserver("127.0.0.1:{port}", **conf),
    "uvicorn": uvicorn,
}


DRAINED = [in_tier(name, {"daphne"}, "draining servers") for name in SERVERS]

#: How they end after SIGTERM. uvicorn gives itself the signal once more.
ENDS = (0, -signal.SIGTERM)


def start(name: str, drain: float) -> ServerProcess:
    """Return a server that drains for so many seconds."""
    return SERVERS[name]({**CONF, "drain": drain})


async def listen(client: httpx.AsyncClient, ended: list[str]) -> str:
    """Read a stream of server-sent events to its end; note that it has ended."""
    headers = {"Accept": "text/event-stream"}
    async with client.stream("GET", "/updates/a", headers=headers) as response:
        text = (await response.aread()).decode()
    ended.append(text)
    return text


@pytest.mark.parametrize(
    "name",
    [in_tier(each, {"daphne"}, "draining servers") for each in SERVERS],
)
async def test_streams_end_one_after_the_other(name: str) -> None:
    """SIGTERM makes a process not ready and ends one stream after the other.

    Meanwhile it serves. A second SIGTERM stops it at once.
    """
    ended: list[str] = []
    with start(name, 120) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            streams = [asyncio.create_task(listen(client, ended)) for _ in range(4)]
            await until_held(server.port, "a", 4)
            assert (await client.get("/health/ready")).status_code == 200
            server.process.send_signal(signal.SIGTERM)
            await until(lambda: ended)
            answer = await client.get("/health/ready")
            assert answer.status_code == 503
            assert answer.json()["reasons"] == [
                "The process is draining: it ends what it holds."
            ]
            assert (await client.get("/health/live")).status_code == 200
            assert await publish(server.port, "a", b"still here") == 201
            assert len(ended) == 1
            # The time is up, which is no reason to wait before coming back.
            assert "push-" not in ended[0]
            server.process.send_signal(signal.SIGTERM)
            texts = await asyncio.gather(*streams)
            assert sum("still here" in each for each in texts) == 3
            assert await asyncio.to_thread(server.process.wait, 20) in ENDS


@pytest.mark.parametrize(
    "name",
    [in_tier(each, {"daphne"}, "draining servers") for each in SERVERS],
)
async def test_a_drained_server_stops(name: str) -> None:
    """After the time polls and streams have ended, and the process ends."""
    ended: list[str] = []
    with start(name, 0.3) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            streams = [asyncio.create_task(listen(client, ended)) for _ in range(4)]
            polls = [asyncio.create_task(client.get("/updates/a")) for _ in range(4)]
            await until_held(server.port, "a", 8)
            server.process.send_signal(signal.SIGTERM)
            await asyncio.gather(*streams)
            answers = await asyncio.gather(*polls)
            assert {each.status_code for each in answers} == {304}
            assert await asyncio.to_thread(server.process.wait, 20) in ENDS


async def test_granian_stops_at_once() -> None:
    """A server that handles signals by its event loop stops as without the setting."""
    ended: list[str] = []
    with granian({**CONF, "drain": 120}) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            streams = [asyncio.create_task(listen(client, ended)) for _ in range(4)]
            await until_held(server.port, "a", 4)
            server.process.send_signal(signal.SIGTERM)
            await asyncio.gather(*streams)
            assert await asyncio.to_thread(server.process.wait, 20) == 0


async def test_sigint_does_not_wait() -> None:
    """SIGINT, which a terminal sends, stops a process at once."""
    ended: list[str] = []
    with daphne({**CONF, "drain": 120}) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            stream = asyncio.create_task(listen(client, ended))
            await until_held(server.port, "a")
            server.process.send_signal(signal.SIGINT)
            await stream
            assert await asyncio.to_thread(server.process.wait, 20) in ENDS
