from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from pushserver.conf import MemoryStoreSettings
from pushserver.publishers import Update
from pushserver_channels.hub import Hub
from pushserver_channels.messages import ChannelInfo
from tests.subscribers import LongPoll, subscribe
from tests.waiting import until

from .exchanges import Answer, Exchange
from .gated_store import GatedStore

pytestmark = pytest.mark.usefixtures("nothing_left")

FUTURE = [(b"if-modified-since", b"Fri, 31 Dec 9999 23:59:59 GMT")]


class SlowToTell(GatedStore):
    """A gated store on which a message is published during each info()."""

    async def info(self, channel_id: str) -> ChannelInfo:
        info = await super().info(channel_id)
        await self.append(Update(channel_id, b"third"))
        return info


@pytest.fixture(params=[GatedStore])
async def hub(request: pytest.FixtureRequest) -> AsyncIterator[Hub]:
    store = request.param(MemoryStoreSettings(type="memory"))
    yield Hub(store, asyncio.get_running_loop())
    store.close()


async def hold(
    hub: Hub,
    headers: list[tuple[bytes, bytes]] = FUTURE,
    concurrency: str = "broadcast",
) -> asyncio.Task[Answer]:
    """Start a request, and return a task with its response once the store looks."""
    consumer = LongPoll(hub, "a", concurrency)
    exchange = Exchange(consumer, "GET", "/updates/a", headers).start()
    assert isinstance(hub.store, GatedStore)
    await hub.store.looked.wait()
    return asyncio.create_task(exchange.answer())


def open_gate(hub: Hub) -> None:
    assert isinstance(hub.store, GatedStore)
    hub.store.gate.set()


@pytest.mark.parametrize("hub", [GatedStore, SlowToTell], indirect=True)
async def test_future_id_gets_the_first_message_during_its_lookup(hub: Hub) -> None:
    """A future id gets the first of the messages published during the lookup."""
    waiting = await hold(hub)
    for body in (b"first", b"second"):
        await hub.publish(Update("a", body))
    open_gate(hub)
    assert (await waiting).body == b"first"


async def test_channel_deleted_after_a_message_for_a_future_id(hub: Hub) -> None:
    """A channel deleted during the lookup is gone, even after a message."""
    waiting = await hold(hub)
    await hub.publish(Update("a", b"news"))
    await hub.delete("a")
    open_gate(hub)
    assert (await waiting).status == 410


async def test_last_of_two_subscribers_in_lookup(hub: Hub) -> None:
    """With last, a subscriber with a conflict during its lookup ends no other one."""
    older = await hold(hub, [], "last")
    with subscribe(hub, "a") as newest:
        hub.admit(newest, "last")
        open_gate(hub)
        assert (await older).status == 409
        assert not newest.ended


async def test_a_wait_ends_once(hub: Hub) -> None:
    """A wait ends once; a later message has no effect."""
    open_gate(hub)
    waiting = await hold(hub)
    await until(lambda: "a" in hub.waiting)
    (cursor,) = hub.waiting["a"]
    cursor.end(None)
    delivered, _ = await hub.publish(Update("a", b"news"))
    assert not delivered
    assert (await waiting).status == 304
