"""Streams of one process, of messages that are published at another, through Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sized
from contextlib import aclosing
from itertools import product
from typing import Any

import pytest

from pushserver.client import Received, listen
from pushserver.client.session import TRANSPORTS
from tests.conformance.servers import uvicorn
from tests.servers import ServerProcess, daphne
from tests.tiers import in_tier
from tests.valkey import Valkey
from tests.waiting import PATIENCE, until

from .conftest import COMPLAINTS, settings_on
from .resuming import CLIENTS, Resuming, read_httpx_sse, read_websockets
from .wire import Wire, publish, request

#: How many messages are published in one go.
BURST = 500

#: How many are published while a server is restarted.
STEADY = 200


MAKERS = {"daphne": daphne, "uvicorn": uvicorn}


@pytest.fixture(
    scope="module",
    params=[in_tier(name, {"daphne"}, "streams on Redis") for name in MAKERS],
)
def servers(
    request: pytest.FixtureRequest,
) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """Two processes that share a store."""
    make = MAKERS[request.param]
    with Valkey() as store:
        conf = settings_on(store)
        with make(conf) as one, make(conf) as other:
            yield one, other
            for server in (one, other):
                said = server.log()
                assert not any(complaint in said for complaint in COMPLAINTS), said


async def publish_burst(port: int, channel_id: str, count: int) -> None:
    """Publish messages by requests that are all sent at once."""
    path = f"/send-update/{channel_id}"
    bodies = [b"%d" % number for number in range(count)]
    async with await Wire.open(port) as wire:
        await wire.send(b"".join(request("POST", path, body=each) for each in bodies))
        for _ in bodies:
            assert (await wire.answer("POST")).status in (201, 202)


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


@pytest.mark.parametrize("read", [read_httpx_sse, read_websockets])
async def test_burst_from_another_process_is_complete_and_in_order(
    servers: tuple[ServerProcess, ServerProcess], channel_id: str, read: Any
) -> None:
    """What was published at another process comes once and in order.

    One client listens all the time. Another leaves at the half, and comes back when all
    has been published.
    """
    one, other = servers
    path = f"/updates/{channel_id}"
    faithful = Resuming(read, one.port, path)
    away = Resuming(read, one.port, path)
    listening = [
        asyncio.ensure_future(faithful.run(BURST)),
        asyncio.ensure_future(away.run(BURST // 2)),
    ]
    await publish_burst(other.port, channel_id, BURST)
    await asyncio.wait_for(asyncio.gather(*listening), PATIENCE)
    assert away.bodies == numbers(BURST // 2)
    await asyncio.wait_for(away.run(BURST), PATIENCE)
    assert faithful.bodies == away.bodies == numbers(BURST)
    assert (faithful.returns, away.returns) == (0, 1)


@pytest.mark.parametrize("name", CLIENTS)
async def test_third_party_client_resumes_after_a_restart(
    servers: tuple[ServerProcess, ServerProcess], channel_id: str, name: str
) -> None:
    """A client that comes back with its id misses nothing and gets nothing twice."""
    one, other = servers
    client = Resuming(CLIENTS[name], one.port, f"/updates/{channel_id}")
    listening = asyncio.ensure_future(client.run(STEADY))
    await publish_through_a_restart(one, other, channel_id, client.bodies)
    await asyncio.wait_for(listening, PATIENCE)
    assert client.bodies == numbers(STEADY)
    assert client.returns > 0


async def publish_through_a_restart(
    one: ServerProcess, other: ServerProcess, channel_id: str, received: Sized
) -> None:
    """Publish at one server while the other one, which has a client, restarts.

    Args:
        one: The server that restarts.
        other: The server at which the messages are published.
        channel_id: The channel.
        received: What the client has received.
    """
    loop = asyncio.get_running_loop()
    restarting: asyncio.Future[Any] | None = None
    for number in range(STEADY):
        if number == STEADY // 4:
            await until(lambda: received)
            restarting = loop.run_in_executor(None, one.stop)
        if number == STEADY // 2:
            assert restarting is not None
            await restarting
        assert await publish(other.port, channel_id, b"%d" % number) in (201, 202)
    await loop.run_in_executor(None, one.start)


@pytest.mark.parametrize(
    ("kind", "transport"),
    [
        in_tier(each, {("async", "stream")}, "ways to listen")
        for each in product(("async", "sync"), TRANSPORTS)
    ],
)
async def test_listener_resumes_after_a_restart(
    servers: tuple[ServerProcess, ServerProcess],
    channel_id: str,
    kind: str,
    transport: str,
) -> None:
    """Our own client in Python misses nothing and gets nothing twice."""
    one, other = servers
    received: list[str] = []
    listener = listen(
        f"{one.url}/updates/{channel_id}", after="oldest", transport=transport
    )

    def is_last(update: Received) -> bool:
        assert update.missed is None
        received.append(str(update.data))
        return len(received) == STEADY

    async def listen_here() -> None:
        async with aclosing(aiter(listener)) as updates:
            async for update in updates:
                if is_last(update):
                    return

    def listen_in_a_thread() -> None:
        any(map(is_last, listener))

    listening = asyncio.ensure_future(
        listen_here() if kind == "async" else asyncio.to_thread(listen_in_a_thread)
    )
    await publish_through_a_restart(one, other, channel_id, received)
    await asyncio.wait_for(listening, PATIENCE)
    assert received == numbers(STEADY)
