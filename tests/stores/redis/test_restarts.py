"""A Redis that restarts, hangs or is full loses no message without a gap."""

from __future__ import annotations

import asyncio
import logging
import signal

import pytest

from pushserver.publishers import Update
from pushserver_channels.exceptions import StoreUnavailable
from pushserver_channels.messages import START, MessageId
from pushserver_channels.stores.redis.scripts import GRACE
from tests.proxies import Proxy
from tests.valkey import Valkey
from tests.waiting import until

from .actions import (
    MakeStore,
    append,
    heard,
    kept,
    kept_at_last,
    messages_key,
    oldest,
    publish_at_last,
    url_of,
    wait,
)


async def test_pending_message_is_confirmed_after_a_restart(
    make: MakeStore, prefix: str
) -> None:
    """A pending message is confirmed after a restart of Redis."""
    with Valkey(persistent=True) as own, Proxy(own.port) as proxy:
        store = make(url_of(proxy))
        await append(store, b"1")
        proxy.lose_answers()
        appending = asyncio.create_task(append(store, b"2"))
        await until(
            lambda: (
                store.commands.network.shards[0].connection
                and store.commands.network.shards[0].connection.pending
            )
        )
        await until(lambda: own.run("XLEN", messages_key(prefix)) == 2)
        proxy.cut()
        own.stop(signal.SIGKILL)
        await until(lambda: store.commands.network.shards[0].failures)
        own.start()
        proxy.mend()
        message = await appending
        assert await kept(store) == [b"1", b"2"]
        assert message == await store.next("a", (await oldest(store)).id)


async def test_message_refused_while_redis_hung_is_not_published(
    make: MakeStore, soon: None
) -> None:
    """A message that was refused while Redis hung is not published later."""
    with Valkey() as own:
        store = make(own.url)
        await append(store, b"1")
        own.process.send_signal(signal.SIGSTOP)
        with pytest.raises(StoreUnavailable):
            await append(store, b"2")
        own.process.send_signal(signal.SIGCONT)
        await until(lambda: own.run("PING"))
        assert await kept_at_last(store) == [b"1"]
        await append(store, b"3")
        assert await kept(store) == [b"1", b"3"]


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
async def test_changed_redis_clock_refuses_no_message(
    make: MakeStore, step: float
) -> None:
    """No message is refused when the clock of Redis is set."""
    store = make()
    first = await append(store, b"1")
    connection = store.commands.network.shards[0].connection
    assert connection is not None
    connection.set_clock(connection.clock + step)
    second = await append(store, b"2")
    assert second.previous == first.id
    assert await kept(store) == [b"1", b"2"]


@pytest.mark.parametrize("persistent", [True, False])
async def test_restart_of_redis(
    make: MakeStore, prefix: str, soon: None, persistent: bool
) -> None:
    """After a restart publishing works, and subscribers get the next message."""
    with Valkey(persistent=persistent) as own:
        here, there = make(own.url), make(own.url)
        own.run("SET", f"{prefix}{{00}}:mark", 1)  # The store is old.
        await wait(here)
        before = await append(there, b"1")
        await until(lambda: heard(here) == [b"1"])
        own.stop(signal.SIGKILL)
        with pytest.raises(StoreUnavailable):
            await append(there, b"no")
        own.start()
        after = await publish_at_last(there, b"2")
        assert after.id > before.id
        assert after.gap_after(before.id) is None or not persistent
        await until(lambda: heard(here) == [b"1", b"2"])
        assert await kept(there) == ([b"1", b"2"] if persistent else [b"2"])


async def test_slow_restart_loses_nothing(make: MakeStore) -> None:
    """A Redis that loads its data slowly loses nothing, and clients get no gap."""
    with Valkey("--key-load-delay", "60", persistent=True) as own:
        store = make(own.url)
        before = await append(store, b"1")
        with own.client() as client, client.pipeline(transaction=False) as pipeline:
            for number in range(10_000):
                pipeline.set(f"other {number}", number)
            pipeline.execute()
        own.stop(signal.SIGKILL)
        # The store connects while Redis loads, and sends its first command later.
        store.listen("b")
        await asyncio.to_thread(own.start)
        assert (await publish_at_last(store, b"2")).previous == before.id


async def test_channel_with_expired_keys_reports_a_gap(
    make: MakeStore, valkey: Valkey, prefix: str
) -> None:
    """A channel whose keys have all expired reports a gap for old ids."""
    store = make()
    valkey.run("SET", f"{prefix}{{00}}:mark", 1)  # The store is old.
    new = await append(store)
    long_ago = MessageId(new.id.time - GRACE - 1, 0)
    assert new.gap_after(long_ago) is not None
    assert new.gap_after(long_ago._replace(tag=3)) is not None
    assert new.gap_after(MessageId(new.id.time - 1, -1)) is None


async def test_restart_with_old_data_reports_a_gap(make: MakeStore, soon: None) -> None:
    """A restart with old data gives clients a gap, and no message twice."""
    with Valkey() as own:
        here, there = make(own.url), make(own.url)
        await wait(here)
        first = await append(there, b"1")
        own.run("SAVE")
        lost = await append(there, b"lost")
        other = await append(there, b"lost", "b")
        await until(lambda: heard(here) == [b"1", b"lost"])
        own.stop(signal.SIGKILL)
        own.start()
        await until(
            lambda: (
                (line := here.commands.network.shards[0].connection) and not line.error
            )
        )
        after = await publish_at_last(there, b"2")
        assert after.id > lost.id
        gap = after.gap_after(first.id)
        assert gap is not None
        assert lost.id < gap
        assert (await append(there, b"2", "b")).gap_after(other.id) is not None
        assert (await append(there, b"3")).previous == after.id
        await until(lambda: b"3" in heard(here))
        assert heard(here) == [b"1", b"lost", b"2", b"3"]
        assert await kept(there) == [b"1", b"2", b"3"]


async def test_publishing_without_permission_for_info(make: MakeStore) -> None:
    """A Redis user without permission for INFO can publish."""
    with Valkey("--user", "push", "on", "nopass", "~*", "&*", "+@all", "-info") as own:
        store = make(f"redis://push:any@127.0.0.1:{own.port}/0")
        first = await append(store, b"1")
        assert (await append(store, b"2")).previous == first.id


async def test_full_redis_refuses_messages(
    make: MakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A full Redis refuses messages, which is logged once, and keeps the others."""
    with Valkey("--maxmemory-policy", "noeviction") as own:
        store = make(own.url, message_timeout=60)
        await append(store, b"1")
        own.run("CONFIG", "SET", "maxmemory", 1)
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await append(store, b"2")
        told = [each for each in caplog.records if each.levelno >= logging.ERROR]
        assert len(told) == 1
        assert "maxmemory" in told[0].getMessage()
        own.run("CONFIG", "SET", "maxmemory", 0)
        await append(store, b"3")
        assert await kept(store) == [b"1", b"3"]


async def test_missing_redis_is_unavailable(make: MakeStore) -> None:
    """Without Redis, each method raises StoreUnavailable."""
    with Valkey() as own:
        url = own.url
    store = make(url)
    for attempt in (
        store.append(Update("a", b"")),
        store.next("a", START),
        store.info("a"),
        store.create("a"),
        store.delete("a"),
    ):
        with pytest.raises(StoreUnavailable):
            await attempt
    store.listen("a")
    store.unlisten("a")
