"""Messages of several processes on a channel layer."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from channels.layers import get_channel_layer

from pushserver.publishers import Update
from pushserver_channels.exceptions import ChannelNotFound, StoreUnavailable
from pushserver_channels.messages import START
from pushserver_channels.stores.layer import ANNOUNCE_INTERVAL, MAX_ANNOUNCED
from tests.stores.conftest import (
    audience_of,
)
from tests.waiting import until

from .fragile import (
    FUTURE,
    MakeStore,
    append,
    every_layer,
    heard,
    join,
    kept,
)


@pytest.mark.process
@every_layer
async def test_message_reaches_every_process(make: MakeStore) -> None:
    """A message reaches all processes with the same id, byte for byte."""
    here, there, far = make(), make(), make()
    await join(here, there, far)
    appended = await here.append(Update("a", bytes(range(256)), b"\xff"))
    for store in (here, there, far):
        await until(lambda store=store: heard(store) == [appended.message])
        assert await store.next("a", START) == appended.message
        assert (await store.info("a")).messages == 1


@pytest.mark.process
@every_layer
async def test_ids_increase_over_processes(make: MakeStore) -> None:
    """In each process, ids continue after those of the other processes."""
    stores = [make() for _ in range(3)]
    await join(*stores)
    ids = []
    for number in range(12):
        store = stores[number % 3]
        ids.append((await append(store, b"%d" % number)).id)
        for each in stores:
            await until(lambda each=each: len(heard(each)) == len(ids))
    assert ids == sorted(set(ids))
    for store in stores:
        assert [message.id for message in heard(store)] == ids
        assert [message.previous for message in heard(store)[1:]] == ids[:-1]


@pytest.mark.process
@every_layer
async def test_concurrent_messages_of_several_processes(make: MakeStore) -> None:
    """All processes keep concurrent messages; late ones are reported as gaps."""
    stores = [make() for _ in range(3)]
    await join(*stores)
    bodies = [b"%d" % number for number in range(60)]
    published = await asyncio.gather(
        *(append(stores[number % 3], body) for number, body in enumerate(bodies))
    )
    ids = sorted(message.id for message in published)
    assert len(set(ids)) == 60
    for store in stores:
        await until(lambda store=store: len(kept(store)) == 60)
        assert [message.id for message in kept(store)] == ids
        assert {message.body for message in kept(store)} == set(bodies)
    last = await append(stores[0])
    for store in stores:
        await until(lambda store=store: heard(store)[-1].id == last.id)
        seen = [message.id for message in heard(store)]
        assert seen == sorted(set(seen))
        told = [
            message.id
            for before, message in pairwise(heard(store))
            if message.gap_after(before.id) is not None
        ]
        missed = set(ids) - set(seen)
        assert all(each < max(told) for each in missed)


@pytest.mark.parametrize("keep", [True, False])
async def test_late_message_that_is_not_kept_is_a_gap(
    make: MakeStore, keep: bool
) -> None:
    """A message that comes after a newer one is missed, if it is not kept."""
    here = make(max_bytes=5000)
    ahead = make(serving=False, clock=lambda: 2005.0)
    behind = make(serving=False, clock=lambda: 2000.0)
    await join(here)
    seen = (await behind.append(Update("a", b"1"))).message
    newer = (await ahead.append(Update("a", b"3"))).message
    await until(lambda: [each.body for each in heard(here)] == [b"1", b"3"])
    body = b"2" * (5000 if keep else 1)
    late = (await behind.append(Update("a", body), keep=keep)).message
    other = (await behind.append(Update("b", b""))).message
    await until(lambda: heard(here)[-1].id == other.id)
    found = await here.next("a", seen.id)
    assert found is not None and found.id == newer.id
    assert found.gap_after(seen.id) == late.id


async def test_unstored_message_is_delivered_in_every_process(make: MakeStore) -> None:
    """A message that is not kept is delivered in every process, and kept in none."""
    here, there = make(), make()
    await join(here, there)
    await here.append(Update("a", b"now"), keep=False)
    await until(lambda: [each.body for each in heard(there)] == [b"now"])
    assert await there.next("a", START) is None


async def test_process_that_freed_its_channels_still_receives(make: MakeStore) -> None:
    """A process that has freed its channels still receives messages."""
    here, there = make(), make()
    await join(here, there)
    there.sweep()
    appended = await here.append(Update("a", b"1"))
    await until(lambda: heard(there) == [appended.message])


async def test_closed_store_is_unavailable(make: MakeStore) -> None:
    """A closed store is unavailable."""
    store = make()
    await store.aclose()
    with pytest.raises(StoreUnavailable):
        await append(store)


async def test_creation_and_deletion_take_effect_in_every_process(
    make: MakeStore,
) -> None:
    """Creating or deleting a channel takes effect in every process."""
    here, there = make(), make()
    await join(here, there)
    await here.create("b")
    await until(lambda: "b" in there.channels)
    there.listen("b")
    await here.delete("b")
    await until(lambda: audience_of(there).dropped == ["b"])
    with pytest.raises(ChannelNotFound):
        await there.info("b")


async def test_requested_channel_is_known_to_every_process(make: MakeStore) -> None:
    """A channel that a subscriber asked for can be deleted in every process."""
    here, there = make(), make()
    await join(here, there)
    await here.next("b", FUTURE)
    await until(lambda: "b" in [*there.empty])
    assert "b" not in here.channels
    assert "b" not in there.channels
    here.listen("b")
    await there.delete("b")
    await until(lambda: audience_of(here).dropped == ["b"])
    for store in (here, there):
        with pytest.raises(ChannelNotFound):
            await store.info("b")


@pytest.mark.parametrize("ask", ["next", "position"])
async def test_requests_do_not_fill_the_layer(make: MakeStore, ask: str) -> None:
    """However many channels subscribers ask for, few events are sent."""
    now = 1000.5
    store = make(clock=lambda: now)
    await join(store)
    sent = get_channel_layer().accepted

    async def request() -> int:
        sent.clear()
        for number in range(100):
            channel_id = f"channel {number}"
            if ask == "next":
                await store.next(channel_id, FUTURE)
            else:
                await store.position(channel_id, 0)
        return sent.count("push.creation")

    assert await request() == MAX_ANNOUNCED - 1  # One was that of join().
    now += 1
    assert await request() == MAX_ANNOUNCED
    for _ in range(5):
        now += 1
        await request()
    assert await request() == 0
    now += ANNOUNCE_INTERVAL
    assert await request() == MAX_ANNOUNCED
    assert len([*store.empty]) == 101
