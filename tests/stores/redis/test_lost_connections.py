"""A store in Redis with broken connections and lost answers."""

from __future__ import annotations

import asyncio
import gc
import warnings
from typing import Any

import pytest

from pushserver.publishers import Update
from pushserver_channels.exceptions import StoreUnavailable
from pushserver_channels.hub import hubs
from pushserver_channels.messages import START
from pushserver_channels.stores.redis.connection import Connection
from pushserver_channels.stores.redis.errors import Unanswered
from tests.proxies import Proxy
from tests.valkey import Valkey
from tests.waiting import until

from .actions import (
    ROOM,
    MakeStore,
    append,
    heard,
    kept,
    messages_key,
    oldest,
    url_of,
    wait,
)


async def test_subscriber_gets_the_next_message_after_a_killed_connection(
    make: MakeStore, valkey: Valkey
) -> None:
    """A subscriber gets the next message even if the connection was killed."""
    here, there = make(), make()
    await wait(here)
    for number in range(10):
        body = b"%d" % number
        valkey.run("CLIENT", "KILL", "TYPE", "pubsub")
        await append(there, body)
        await until(lambda body=body: body in heard(here))
    assert heard(here) == [b"%d" % number for number in range(10)]


async def test_messages_published_while_disconnected_are_delivered(
    make: MakeStore, proxy: Proxy, soon: None
) -> None:
    """A subscriber gets messages published while its process was disconnected."""
    here, there = make(url_of(proxy)), make()
    await wait(here)
    await append(there, b"1")
    await until(lambda: heard(here) == [b"1"])
    proxy.cut()
    for body in (b"2", b"3", b"4"):
        assert not (await there.append(Update("a", body))).delivered
    with pytest.raises(StoreUnavailable):
        await append(here, b"no")
    with pytest.raises(StoreUnavailable):
        await here.next("a", START)
    proxy.mend()
    await until(lambda: len(heard(here)) == 4)
    await until(lambda: here.commands.listeners[here.commands.find("a").topic].is_live)
    await append(there, b"5")
    await until(lambda: len(heard(here)) == 5)
    assert heard(here) == [b"1", b"2", b"3", b"4", b"5"]


async def test_missed_messages_are_delivered_after_refused_reads(
    make: MakeStore,
    valkey: Valkey,
    prefix: str,
    proxy: Proxy,
    soon: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A subscriber gets missed messages even if Redis first refuses to read them."""
    here, there = make(url_of(proxy)), make()
    await wait(here)
    await append(there, b"1")
    await until(lambda: heard(here) == [b"1"])
    proxy.cut()
    await append(there, b"2")
    key = messages_key(prefix)
    valkey.run("RENAME", key, f"{key} elsewhere")
    valkey.run("SET", key, "no stream")
    proxy.mend()
    await until(lambda: "Redis refuses" in caplog.text)
    valkey.run("RENAME", f"{key} elsewhere", key)
    await until(lambda: heard(here) == [b"1", b"2"])
    await append(there, b"3")
    await until(lambda: heard(here) == [b"1", b"2", b"3"])


@pytest.mark.usefixtures("push_server")
def test_consecutive_event_loops() -> None:
    """What an event loop has left open does not disturb the next event loop."""

    async def publish() -> bool:
        return (await hubs.get("default").publish(Update("a", b"")))[1].messages > 0

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        assert [asyncio.run(publish()) for _ in range(2)] == [True, True]
        hubs.reset()
        gc.collect()


async def test_half_open_connection_loses_no_message(
    make: MakeStore, proxy: Proxy, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A half-open connection is detected, and no message is lost."""
    monkeypatch.setattr(f"{ROOM}.connection.SILENCE", 1)
    here, there = make(url_of(proxy)), make()
    await wait(here)
    proxy.freeze()
    await append(there, b"1")
    await until(lambda: here.commands.network.shards[0].connection is None)
    proxy.mend()
    await until(lambda: heard(here) == [b"1"])


async def test_message_with_a_lost_response_is_kept_once(
    make: MakeStore, proxy: Proxy
) -> None:
    """A message is kept once if the connection ends before the answer of Redis."""
    store, other = make(url_of(proxy)), make()
    await append(store, b"1")
    await wait(other)
    proxy.lose_answers()
    appending = asyncio.create_task(store.append(Update("a", b"2", b"text/plain")))
    await until(lambda: heard(other) == [b"2"])
    proxy.cut()
    more = [b"%d" % number for number in range(3, 203)]
    for body in more:
        await append(other, body)
    proxy.mend()
    appended = await appending
    assert appended.message == await other.next("a", (await oldest(other)).id)
    assert appended.delivered
    assert await kept(other) == [b"1", b"2", *more]
    assert heard(other) == [b"2", *more]


async def test_dropped_message_with_a_lost_response_is_not_sent_again(
    make: MakeStore, proxy: Proxy
) -> None:
    """A message is not sent again if it may have been published and dropped."""
    store, other = make(url_of(proxy), max_messages=1), make(max_messages=1)
    await append(store, b"1")
    await wait(other)
    proxy.lose_answers()
    appending = asyncio.create_task(append(store, b"2"))
    await until(lambda: heard(other) == [b"2"])
    proxy.cut()
    await append(other, b"3")
    proxy.mend()
    with pytest.raises(Unanswered):
        await appending
    assert heard(other) == [b"2", b"3"]


async def test_unstored_message_with_a_lost_response_is_not_sent_again(
    make: MakeStore, proxy: Proxy
) -> None:
    """A message that is not kept is not sent again, and the publisher gets an error."""
    store, other = make(url_of(proxy)), make()
    await append(store)
    await wait(other)
    proxy.lose_answers()
    appending = asyncio.create_task(store.append(Update("a", b"now"), keep=False))
    await until(lambda: heard(other) == [b"now"])
    proxy.mend()
    with pytest.raises(Unanswered):
        await appending
    assert heard(other) == [b"now"]


async def test_lost_command_is_sent_again(make: MakeStore, proxy: Proxy) -> None:
    """A message that has not reached Redis is sent again."""
    store = make(url_of(proxy))
    await append(store, b"1")
    proxy.freeze()
    appending = asyncio.create_task(append(store, b"2"))
    await until(
        lambda: (
            store.commands.network.shards[0].connection
            and store.commands.network.shards[0].connection.pending
        )
    )
    proxy.mend()
    await appending
    assert await kept(store) == [b"1", b"2"]


async def test_connection_that_opens_as_the_store_closes_is_closed(
    make: MakeStore, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No connection is left if the store is closed at the moment when it opens."""
    store = make()
    opened = []
    open_connection = Connection.open

    async def open_and_close_store(*args: Any, **options: Any) -> Connection:
        opened.append(await open_connection(*args, **options))
        store.close()
        return opened[0]

    monkeypatch.setattr(Connection, "open", open_and_close_store)
    with pytest.raises((StoreUnavailable, asyncio.CancelledError)):
        await append(store, b"1")
    await until(lambda: opened[0].error is not None)
