"""Publishers and the site are served although subscribers fill the process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import websockets

from tests.conformance.servers import granian, uvicorn
from tests.servers import ServerProcess, daphne, runpushserver
from tests.tiers import in_tier
from tests.waiting import until

from .conftest import COMPLAINTS, CONF, SERVERS
from .wire import Wire, publish, request, subscribers, until_held

#: The files that a process may open, as in many a container.
FILES = 256

#: The default of ``max_held`` for so many files.
MAX_HELD = FILES - 100

CLIENTS = 400

EVENTS = "Accept: text/event-stream"

#: The headers of a poll for a message that is yet to come.
LATER = ("If-Modified-Since: Fri, 31 Dec 2055 23:59:59 GMT", "If-None-Match: 0")


@pytest.fixture
def small(kind: str) -> Iterator[ServerProcess]:
    """A process of each server that may open few files."""
    server = SERVERS[kind]()
    # granian raises the soft limit to the hard one.
    limit = f'ulimit -n {FILES}; exec "$@"'
    server.command = ["sh", "-c", limit, "sh", *server.command]
    with server:
        yield server
        said = server.log()
        assert not any(complaint in said for complaint in COMPLAINTS), said


def are_refused(reading: list[asyncio.Future[bytes]], count: int) -> bool:
    """Return whether this number of connections has ended."""
    return sum(each.done() for each in reading) == count


@pytest.mark.parametrize(
    "how", [in_tier(each, {"poll"}, "full processes") for each in ("poll", "stream")]
)
async def test_publishers_get_in_when_subscribers_fill_the_process(
    small: ServerProcess, channel_id: str, how: str
) -> None:
    """What is over the limit is refused and disconnected, and publishers get in."""
    path = f"/updates/{channel_id}"
    head = request("GET", path, *([EVENTS] if how == "stream" else []))
    wires: list[Wire] = []
    reading: list[asyncio.Future[bytes]] = []
    for number in range(1, CLIENTS + 1):
        wire = await Wire.open(small.port)
        wires.append(wire)
        await wire.send(head)
        reading.append(asyncio.ensure_future(wire.rest()))
        if number % 50 == 0:
            # A server accepts connections before it reads what they ask.
            await until(partial(are_refused, reading, max(number - MAX_HELD, 0)))
            await until_held(small.port, channel_id, min(number, MAX_HELD))
    for each in reading:
        if each.done():
            said = each.result()
            if how == "poll":
                assert said.startswith(b"HTTP/1.1 503")
                assert b"\r\nretry-after: " in said.lower()
                assert b"Too many subscribers" in said
            else:
                assert said.startswith(b"HTTP/1.1 200")
                assert b"event: push-unavailable\n" in said
    assert await publish(small.port, channel_id) == 201
    assert f"this process holds {MAX_HELD} requests" in small.log()
    if how == "poll":
        # Those that were answered have made room.
        await until_held(small.port, channel_id, 0)
        async with await Wire.open(small.port) as wire:
            assert (await wire.ask("GET", path)).body == b"news"
    for wire in wires:
        wire.abort()
    await asyncio.gather(*reading)


def _granian_with_sockets(conf: dict[str, Any]) -> ServerProcess:
    server = granian(conf)
    server.command.remove("--no-ws")
    return server


SOCKET_SERVERS: dict[str, Callable[[dict[str, Any]], ServerProcess]] = {
    "daphne": daphne,
    "runpushserver": lambda conf: runpushserver("-v", "0", "{port}", **conf),
    "uvicorn": uvicorn,
    "granian": _granian_with_sockets,
}


@pytest.mark.parametrize("name", SOCKET_SERVERS)
async def test_sockets_over_the_limit(name: str, channel_id: str) -> None:
    """A socket over a limit is accepted, and closed with 4429; a place becomes free."""
    with SOCKET_SERVERS[name]({**CONF, "max_held": 1}) as server:
        url = f"ws://127.0.0.1:{server.port}/updates/{channel_id}"
        async with websockets.connect(url) as first:
            await first.send("ping")
            assert await first.recv() == "pong"
            async with websockets.connect(url) as second:
                with pytest.raises(websockets.ConnectionClosed):
                    await second.recv()
                assert second.close_code == 4429
            assert await publish(server.port, channel_id) == 201
            assert await first.recv() == "news"

        async def is_free() -> bool:
            async with websockets.connect(url) as third:
                try:
                    return await third.recv() == "news"
                except websockets.ConnectionClosed:
                    return False

        await until(is_free)


UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
)


@pytest.mark.parametrize(
    "name", [in_tier(each, {"daphne"}, "vanishing clients") for each in SOCKET_SERVERS]
)
async def test_clients_that_vanish_are_not_counted(name: str, channel_id: str) -> None:
    """After many clients have reset their connections, all places are free again."""
    most, path = 20, f"/updates/{channel_id}"
    heads = [
        request("GET", path),
        request("GET", path, EVENTS),
        request("GET", f"{path}?batch=1", EVENTS),
        request("GET", path, *UPGRADE),
    ]
    with SOCKET_SERVERS[name]({**CONF, "max_held": most}) as server:
        for number in range(200):
            async with await Wire.open(server.port) as wire:
                await wire.send(heads[number % 4])
                if number % 3 == 0:  # Some have been held or answered before.
                    await publish(server.port, channel_id)
                wire.reset()

        async def are_held() -> bool:
            if await subscribers(server.port, channel_id) == most:
                return True
            wire = await Wire.open(server.port)
            await wire.send(request("GET", path, *LATER))
            return False

        await until(are_held)
        async with await Wire.open(server.port) as wire:
            assert (await wire.ask("GET", path, *LATER)).status == 503
