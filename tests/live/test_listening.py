"""The Python client with real servers of others, and several channels."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import pytest

from pushserver.client import Received, listen
from tests.conformance.servers import nginx
from tests.servers import ServerProcess, daphne

from .wire import publish

CONF: dict[str, Any] = {
    "store": {"type": "memory", "max_messages": 3},
    "locations": [
        {"type": "publisher", "url": "/send-update/([^/]+)"},
        {
            "type": "subscriber",
            "url": "/updates/([^/]+)",
            "create_on_get": True,
            "separator": ",",
        },
    ],
}


@pytest.fixture(scope="module", params=[daphne, nginx])
def location(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    """A server of ours, and nginx with Nchan, with the same settings."""
    with request.param(CONF) as server:
        yield server


async def take(listener: Any, count: int) -> list[Received]:
    """Return the next messages of a listener."""
    received = []
    async with aclosing(aiter(listener)) as updates:
        async for update in updates:
            received.append(update)
            if len(received) == count:
                break
    return received


@pytest.mark.parametrize("transport", ["stream", "poll", None])
async def test_messages_from_an_id(
    location: ServerProcess, channel_id: str, transport: str | None
) -> None:
    """A listener continues after an id, on the same transport or another one."""
    for body in (b"a", b"b\nb"):
        await publish(location.port, channel_id, body)
    url = f"{location.url}/updates/{channel_id}"
    first, second = await take(listen(url, transport=transport), 2)
    assert [first.body, second.body] == [b"a", b"b\nb"]
    [again] = await take(listen(url, after=first.id, transport=transport), 1)
    assert (again.body, again.id) == (b"b\nb", second.id)
    listening = asyncio.ensure_future(
        take(listen(url, after=second.id, transport=transport), 2)
    )
    for body in (b"c", b"d"):
        await publish(location.port, channel_id, body)
    assert [each.body for each in await listening] == [b"c", b"d"]


@pytest.mark.parametrize("transport", ["stream", "batch", "poll"])
async def test_several_channels_and_what_was_missed(
    channel_id: str, transport: str
) -> None:
    """Messages of several channels come on one connection, and loss is told."""
    with daphne(CONF) as own:
        one, other = f"{channel_id}-1", f"{channel_id}-2"
        await publish(own.port, one, b"first")
        [first] = await take(listen(f"{own.url}/updates/{one}"), 1)
        for number in range(5):
            await publish(own.port, one, b"%d" % number)
        await publish(own.port, other, b"of the other")
        url = f"{own.url}/updates/{one},{other}"
        received = await take(
            listen(url, after=f"{first.id},0:0", transport=transport), 4
        )
        assert {each.body for each in received} == {b"2", b"3", b"4", b"of the other"}
        missed = [each.body for each in received if each.missed is not None]
        assert missed == [b"2"]
        if transport != "poll":
            channels = {each.body: each.channel_id for each in received}
            assert channels[b"2"] == one
            assert channels[b"of the other"] == other
