"""Processes that share a store in Redis."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from pushserver.publishers import Update
from pushserver_channels.exceptions import ChannelNotFound
from pushserver_channels.hub import Hub
from pushserver_channels.messages import START, MessageId
from tests.servers import ROOT
from tests.stores.conftest import audience_of
from tests.subscribers import long_poll
from tests.valkey import Valkey
from tests.waiting import until

from .actions import FUTURE, MakeStore, append, heard, until_nobody_listens, wait


@pytest.mark.parametrize("step", ["0", "1", "1800"])
async def test_ids_increase_over_many_publishers(
    make: MakeStore, valkey: Valkey, prefix: str, step: str
) -> None:
    """Ids grow and all messages arrive with 51 publishers whose clocks step back."""
    store = make()
    await wait(store)
    command = (sys.executable, "-m", "tests.stores.publish", valkey.url, prefix, "a")
    publishers = [
        await asyncio.create_subprocess_exec(
            *(*command, "17", "20", step), cwd=ROOT, stdout=subprocess.PIPE
        )
        for _ in range(3)
    ]
    told = []
    for publisher in publishers:
        output, _ = await publisher.communicate()
        lines = [line.split() for line in output.decode().splitlines()]
        ids = [MessageId(*map(int, line[0].split(":"))) for line in lines]
        assert ids == sorted(ids)
        told += ids
    assert len(set(told)) == 3 * 17 * 20
    audience = audience_of(store)
    await until(lambda: len(audience.delivered) == len(told))
    messages = [message for _, message in audience.delivered]
    assert [message.id for message in messages] == sorted(told)
    assert [message.previous for message in messages[1:]] == sorted(told)[:-1]


async def test_message_reaches_a_subscriber_of_another_process(make: MakeStore) -> None:
    """A message reaches a subscriber of another process, and counts as delivered."""
    here, there = make(), make()
    await wait(there)
    appended = await here.append(Update("a", b"news", b"text/plain"))
    assert appended.delivered
    await until(lambda: heard(there))
    assert audience_of(there).delivered == [("a", appended.message)]
    assert heard(here) == []
    there.unlisten("a")
    # The other process stays subscribed for a moment, in case a client returns.
    await until_nobody_listens(here)
    assert not (await here.append(Update("a", b"more"))).delivered


async def test_process_stays_subscribed_for_a_moment(
    make: MakeStore, valkey: Valkey
) -> None:
    """A process stays subscribed for a moment without counting absent subscribers."""
    store, other = make(), make()
    await wait(store)
    last = await append(store)
    for _ in range(3):
        store.unlisten("a")
        audience_of(store).waiting.discard("a")
        appended = await store.append(Update("a", b""))
        assert not appended.delivered
        assert appended.info.subscribers == 0
        assert (await store.info("a")).subscribers == 0
        last = appended.message
    valkey.run("CONFIG", "RESETSTAT")
    for _ in range(3):
        store.listen("a")
        assert store.has_nothing("a", last.id)
        assert not store.has_nothing("a", FUTURE)
        assert await store.next("a", last.id) is None
        store.unlisten("a")
    with valkey.client() as client:
        assert not {"cmdstat_evalsha", "cmdstat_subscribe"} & {
            *client.info("commandstats")
        }
    store.listen("a")
    audience_of(store).waiting.add("a")
    assert (await other.append(Update("a", b"1"))).delivered
    await until(lambda: heard(store)[-1:] == [b"1"])
    store.unlisten("a")
    await until_nobody_listens(other)
    assert not store.has_nothing("a", last.id)


async def test_other_processes_count_as_one_subscriber(make: MakeStore) -> None:
    """Channel info counts each other process with subscribers, but not this one."""
    stores = [make() for _ in range(3)]
    assert (await stores[0].create("a")).subscribers == 0
    for store in stores:
        await wait(store)
    assert [(await store.info("a")).subscribers for store in stores] == [2, 2, 2]
    appended = await stores[0].append(Update("a", b""))
    assert appended.info.subscribers == 2
    assert (await stores[0].delete("a")).subscribers == 2


async def test_deletion_by_another_process(make: MakeStore) -> None:
    """Subscribers are notified when another process deletes the channel."""
    here, there = make(), make()
    await wait(here)
    await wait(there)
    await here.delete("a")
    for store in (here, there):
        await until(lambda store=store: audience_of(store).dropped == ["a"])
    with pytest.raises(ChannelNotFound):
        await there.next("a", FUTURE, create=False)


async def test_client_that_changes_processes_gets_each_message_once(
    make: MakeStore,
) -> None:
    """A client that polls another process each time gets each message once in order."""
    loop = asyncio.get_running_loop()
    publisher = make()
    hubs = [Hub(make(), loop) for _ in range(3)]

    async def subscribe(number: int) -> list[bytes]:
        bodies, after = [], START
        while len(bodies) < 200:
            number += 1
            message = await long_poll(hubs[number % 3], "a", after)
            assert message is not None
            assert message.gap_after(after) is None
            bodies.append(message.body)
            after = message.id
        return bodies

    subscribers = [asyncio.create_task(subscribe(number)) for number in range(5)]
    numbered = [b"%d" % number for number in range(200)]
    for body in numbered:
        await append(publisher, body)
    assert await asyncio.gather(*subscribers) == [numbered] * 5


async def test_polls_share_one_request_to_redis(
    make: MakeStore, valkey: Valkey
) -> None:
    """A process delivers messages to its polls without a request to Redis for each."""
    loop = asyncio.get_running_loop()
    hub = Hub(make(), loop)

    async def subscribe() -> None:
        after = START
        for _ in range(10):
            message = await long_poll(hub, "a", after)
            assert message is not None
            after = message.id

    subscribers = [asyncio.create_task(subscribe()) for _ in range(100)]
    for number in range(10):
        await until(lambda: len(hub.waiting.get("a", ())) == 100)
        if number == 1:
            # From now on each client has polled at least twice.
            started = loop.time()
            valkey.run("CONFIG", "RESETSTAT")
        await hub.publish(Update("a", b""))
    await asyncio.gather(*subscribers)
    with valkey.client() as client:
        stats = client.info("commandstats")
    # One call appends each message; a few more record requests.
    seconds = loop.time() - started
    assert stats["cmdstat_evalsha"]["calls"] <= 9 + 2 * (seconds + 1)
    assert not {"cmdstat_eval", "cmdstat_subscribe", "cmdstat_unsubscribe"} & {*stats}


async def test_future_id_gets_the_next_message(make: MakeStore) -> None:
    """A poll with an id of the future gets the next message, even during a lookup."""
    hub, publisher = Hub(make(), asyncio.get_running_loop()), make()
    # Connect first, or the lookup could happen after the last message.
    await hub.create("a")
    messages = []
    for number in range(50):
        waiting = asyncio.create_task(long_poll(hub, "a", FUTURE))
        await asyncio.sleep(0)
        messages = messages[-1:]
        for body in (b"%d" % number, b"%d more" % number):
            messages.append(await append(publisher, body))
        # The poll may have started after them, as its process has to connect first.
        while not waiting.done():
            messages.append(await append(publisher, b"last"))
        # The last message of the previous round may still be arriving.
        assert await waiting in messages
