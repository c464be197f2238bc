"""Requests for channels on which nobody has published, with a store in Redis."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.servers import ServerProcess, daphne
from tests.valkey import Valkey

from .conftest import settings_on
from .wire import Wire, publish, request, until_held

#: How many channels are asked for by polls that are answered at once, and by held ones.
POLLED, HELD = 300, 20


@pytest.fixture
def store() -> Iterator[Valkey]:
    with Valkey() as store:
        yield store


@pytest.fixture
def servers(store: Valkey) -> Iterator[list[ServerProcess]]:
    """Two processes that share an empty store."""
    conf = settings_on(store)
    polled = {"url": "/interval/([^/]+)", "polling": "interval"}
    conf["locations"].append({**conf["locations"][-1], **polled})
    with daphne(conf) as one, daphne(conf) as other:
        yield [one, other]


async def test_random_channels_write_nothing_to_redis(
    store: Valkey, servers: list[ServerProcess]
) -> None:
    """Random ids leave no key in Redis; what is then published reaches who waits."""
    one, other = servers
    for server in servers:
        async with await Wire.open(server.port) as wire:
            for _ in range(POLLED):
                answer = await wire.ask("GET", f"/interval/{uuid4().hex}")
                assert answer.status == 304
    held = {uuid4().hex: await Wire.open(one.port) for _ in range(HELD)}
    for channel_id, wire in held.items():
        await wire.send(request("GET", f"/updates/{channel_id}"))
    for channel_id in held:
        await until_held(other.port, channel_id)
    with store.client() as client:
        assert client.dbsize() == 0
    for channel_id, wire in held.items():
        assert await publish(other.port, channel_id, channel_id.encode()) == 201
        assert (await wire.answer()).body == channel_id.encode()
