"""Publish into a store in Redis from any process."""

from __future__ import annotations

import asyncio

import pytest
from django.test import override_settings

from pushserver.channel_urls import find_publisher
from pushserver.publishers import PublishError, Update
from pushserver.updates import asend_update, send_update
from pushserver_channels.exceptions import ChannelNotFound
from pushserver_channels.hub import hubs
from pushserver_channels.publishers import DirectPublisher
from tests.valkey import Valkey
from tests.waiting import until

from .actions import MakeStore, heard, until_nobody_listens, wait


def connections(valkey: Valkey) -> int:
    with valkey.client() as client:
        return int(client.info("clients")["connected_clients"])


@pytest.mark.usefixtures("push_server")
async def test_publishing_without_a_server(make: MakeStore, valkey: Valkey) -> None:
    """Any process publishes directly into a shared store, over one connection."""
    store, other = make(), make()
    await wait(store)
    await other.create("a")
    before = connections(valkey)
    assert DirectPublisher().is_available(find_publisher())
    receipt = await asend_update("a", {"n": 1})
    assert receipt is not None
    assert receipt.status == 201
    assert receipt.info is not None
    assert receipt.info["messages"] == 1
    await until(lambda: heard(store) == [b'{"n": 1}'])
    store.unlisten("a")
    await until_nobody_listens(other)
    receipt = await asend_update("a", {"n": 2})
    assert receipt is not None
    assert receipt.status == 202
    assert connections(valkey) <= before + 1


@pytest.mark.usefixtures("push_server")
async def test_publishing_from_sync_code(make: MakeStore) -> None:
    """Sync code in threads can publish."""
    store = make()
    await wait(store)

    def publish() -> list[int]:
        receipts = [send_update("a", number) for number in range(5)]
        return [receipt.status for receipt in receipts if receipt is not None]

    told = await asyncio.gather(*(asyncio.to_thread(publish) for _ in range(3)))
    assert told == [[201] * 5] * 3
    await until(lambda: len(heard(store)) == 15)


@pytest.mark.usefixtures("push_server")
async def test_publishing_beside_a_server(make: MakeStore, valkey: Valkey) -> None:
    """In the process of a push server, publishing uses the server's connection."""
    store = make()
    hub = hubs.get("default")
    await hub.create("a")
    await wait(store)
    with valkey.client() as client:
        before = client.info("stats")["total_connections_received"]
        receipt = await asyncio.to_thread(send_update, "a", 1)
        assert client.info("stats")["total_connections_received"] == before
    assert receipt is not None
    assert receipt.status == 201
    await hub.store.aclose()


@pytest.mark.process
async def test_publishing_without_redis() -> None:
    """Without Redis send_update raises an error, or logs it with ignore_errors."""
    with Valkey() as own:
        url = own.url
    with override_settings(PUSH_SERVER={"store": {"type": "redis", "url": url}}):
        with pytest.raises(PublishError, match="unavailable") as error:
            await asend_update("a", 1)
        assert error.value.status == 503
        assert await asend_update("a", 1, ignore_errors=True) is None


@pytest.mark.usefixtures("push_server")
async def test_named_stores() -> None:
    """Several named stores are used at the same time."""
    one, other = hubs.get("default"), hubs.get("other")
    await one.publish(Update("a", b"news"))
    with pytest.raises(ChannelNotFound):
        await other.info("a")
    for hub in (one, other):
        await hub.store.aclose()
