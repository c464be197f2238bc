"""Channels without keys: what subscribers ask for before anybody has published."""

from __future__ import annotations

import asyncio

import pytest

from pushserver.conf import RedisStoreSettings
from pushserver.publishers import Update
from pushserver.publishers.deadline import Deadline
from pushserver_channels.exceptions import ChannelNotFound
from pushserver_channels.hub import Hub
from pushserver_channels.messages import START, MessageId
from pushserver_channels.stores.redis.publishing import RedisPublishing
from tests.proxies import Proxy
from tests.stores.conftest import audience_of
from tests.subscribers import long_poll
from tests.valkey import Valkey
from tests.waiting import until

from .actions import (
    MakeStore,
    append,
    heard,
    publish_at_last,
    url_of,
    wait,
)


def count_keys(valkey: Valkey) -> int:
    """Return the number of keys in Valkey."""
    with valkey.client() as client:
        return int(client.dbsize())


async def test_requests_write_no_key(make: MakeStore) -> None:
    """Requests for channels on which nobody has published write nothing to Redis."""
    with Valkey() as own:
        store = make(own.url)
        for number in range(20):
            channel_id = f"channel {number}"
            await store.next(channel_id, START)
            await store.page(channel_id, START, 10)
            await store.position(channel_id, 3)
            await wait(store, channel_id)
            assert store.has_nothing(channel_id, MessageId(0, 0))
            await store.info(channel_id)
            store.unlisten(channel_id)
        assert count_keys(own) == 0
        await wait(store)
        await append(make(own.url), b"news")
        await until(lambda: heard(store) == [b"news"])


async def test_requests_are_recorded_once_somebody_has_published(
    make: MakeStore,
) -> None:
    """Other processes learn of the requests for a channel with a message."""
    store, other = make(), make()
    await append(other)
    assert (await other.info("a")).requested == -1
    await store.next("a", START)
    assert (await other.info("a")).requested == 0


async def test_channel_exists_while_another_process_waits(make: MakeStore) -> None:
    """To publishers at other processes it exists while subscribers wait."""
    store, other = make(), make()
    with pytest.raises(ChannelNotFound):
        await other.info("a")
    await wait(store)
    info = await other.info("a")
    assert (info.messages, info.requested, info.subscribers) == (0, 0, 1)
    with pytest.raises(ChannelNotFound):
        await other.next("a", START, create=False)
    store.unlisten("a")

    async def is_gone() -> bool:
        try:
            await other.info("a")
        except ChannelNotFound:
            return True
        return False

    await until(is_gone)


async def test_process_that_refused_a_subscriber_does_not_wait(make: MakeStore) -> None:
    """A subscriber that may create no channel does not make one for the others."""
    store, other = make(), make()
    for _ in range(20):
        store.listen("a")
        with pytest.raises(ChannelNotFound):
            await store.next("a", START, create=False)
        store.unlisten("a")
        await store.next("b", START)  # Redis has done what was sent before.
        with pytest.raises(ChannelNotFound):
            await other.info("a")


@pytest.mark.parametrize("serves", [True, False])
async def test_other_processes_publish_for_waiting_subscribers(
    make: MakeStore, valkey: Valkey, prefix: str, serves: bool
) -> None:
    """A publisher that creates no channel can publish where another process waits."""
    store = make()
    update = Update("a", b"news")
    settings = RedisStoreSettings(type="redis", url=valkey.url, key_prefix=prefix)
    publishing = RedisPublishing(settings)
    other = make()

    async def publish() -> tuple[bool, int]:
        if serves:
            appended = await other.append(update, create=False)
            return appended.delivered, appended.info.requested
        delivered, info = await asyncio.to_thread(
            publishing.append, update, Deadline(5), keep=True, create=False
        )
        return delivered, info.requested

    with pytest.raises(ChannelNotFound):
        await publish()
    await wait(store)
    assert await publish() == (True, 0)
    await until(lambda: heard(store) == [b"news"])
    assert (await store.info("a")).requested == 0
    publishing.close()


async def test_deletion_by_another_process_is_final(make: MakeStore) -> None:
    """A deletion ends the wait everywhere, and at once nobody finds the channel."""
    store, other = make(), make()
    for number in range(20):
        channel_id = f"channel {number}"
        await wait(store, channel_id)
        assert (await other.delete(channel_id)).subscribers == 1
        with pytest.raises(ChannelNotFound):
            await other.delete(channel_id)
        with pytest.raises(ChannelNotFound):
            await other.append(Update(channel_id, b""), create=False)
        await until(lambda: audience_of(store).dropped)
        audience_of(store).dropped.clear()
        store.unlisten(channel_id)
        with pytest.raises(ChannelNotFound):
            await store.info(channel_id)
        with pytest.raises(ChannelNotFound):
            await store.next(channel_id, START, create=False)


async def test_message_during_an_interruption_is_delivered(
    make: MakeStore, proxy: Proxy
) -> None:
    """A subscriber of a channel without keys misses nothing if the connection ends."""
    store, other = make(url_of(proxy)), make()
    await wait(store)
    proxy.cut()
    message = await publish_at_last(other, b"news")
    proxy.mend()
    await until(lambda: heard(store) == [b"news"])
    assert audience_of(store).delivered == [("a", message)]


async def test_emptied_redis(make: MakeStore) -> None:
    """After FLUSHALL waiting subscribers get what is published, told as a gap."""
    with Valkey() as own:
        store, other = make(own.url), make(own.url)
        seen = await append(other, b"1")
        hub = Hub(store, asyncio.get_running_loop())
        waiting = asyncio.create_task(long_poll(hub, "a", seen.id))
        await until(lambda: hub.waiting)
        own.run("FLUSHALL")
        again = asyncio.create_task(long_poll(hub, "a", seen.id))
        await until(lambda: len(hub.waiting["a"]) == 2)
        await append(other, b"2")
        for poll in (waiting, again):
            message = await poll
            assert message is not None
            assert message.body == b"2"
            assert message.gap_after(seen.id) is not None


async def test_process_forgets_the_channels(make: MakeStore) -> None:
    """A process keeps nothing of the channels that were asked for, after a while."""
    now = 1000.0
    store = make(clock=lambda: now)
    for number in range(20):
        await store.next(f"channel {number}", START)
    assert len(store.asked) == 20
    await append(store, b"", "channel 0")
    await store.create("channel 1")
    await store.delete("channel 2")
    assert len(store.asked) == 17
    now += 60
    store.asked.sweep()
    assert len(store.asked) == 0


async def test_request_that_needs_no_lookup_is_recorded(make: MakeStore) -> None:
    """Channel info shows a request that was answered from what the process knows."""
    now = 1000.0
    store = make(clock=lambda: now)
    await store.next("a", START)
    await wait(store)
    now += 2
    assert store.has_nothing("a", MessageId(0, 0))
    assert (await store.info("a")).requested == 0


async def test_channel_that_has_ended_while_the_process_listens(
    make: MakeStore,
) -> None:
    """A channel that has ended is not taken for one without a message."""
    now = 1000.0
    store = make(clock=lambda: now)
    await wait(store)
    assert store.has_nothing("a", MessageId(0, 0))
    audience_of(store).waiting.clear()
    store.unlisten("a")
    now += 60
    assert not store.has_nothing("a", MessageId(0, 0))
    with pytest.raises(ChannelNotFound):
        await store.next("a", START, create=False)
