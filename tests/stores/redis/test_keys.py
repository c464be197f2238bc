"""The keys of a store in Redis: their lifetime, and what happens if they are lost."""

from __future__ import annotations

from time import time

import pytest

from pushserver.conf import RedisStoreSettings
from pushserver.publishers import Update
from pushserver_channels.messages import START
from pushserver_channels.stores.redis import RedisStore
from tests.valkey import Valkey

from .actions import MakeStore, append, heard, kept, wait


async def test_keys_expire(make: MakeStore, valkey: Valkey, prefix: str) -> None:
    """Keys of a channel expire some time after its messages and its last use."""
    store = make(message_timeout=10, channel_timeout=100)
    await append(store)
    with valkey.client() as client:
        assert 10 <= client.ttl(f"{prefix}{{00}}:messages:a") <= 13
        assert 100 < client.ttl(f"{prefix}{{00}}:channel:a") <= 100 + 3600
        await store.delete("a")
        assert not client.exists(f"{prefix}{{00}}:messages:a")
        assert 0 < client.ttl(f"{prefix}{{00}}:channel:a") <= 3600
        await store.next("a", START)
        assert 100 < client.ttl(f"{prefix}{{00}}:channel:a") <= 100 + 3600


@pytest.mark.parametrize(
    "limits", [{}, {"min_messages": 1, "message_timeout": 10}, {"channel_timeout": 0}]
)
async def test_keys_without_expiry(
    make: MakeStore, valkey: Valkey, prefix: str, limits: dict[str, int]
) -> None:
    """Keys of messages without an expiry do not expire."""
    store = make(**limits)
    await append(store)
    with valkey.client() as client:
        assert client.ttl(f"{prefix}{{00}}:messages:a") == -1
        assert client.ttl(f"{prefix}{{00}}:channel:a") == -1


@pytest.mark.parametrize(
    "before", ["nothing", "poll", "message", "eviction", "unkept", "older message"]
)
async def test_the_last_message_of_a_second_sets_the_expiry(
    make: MakeStore, valkey: Valkey, prefix: str, before: str
) -> None:
    """A message sets the expiry of its keys whatever the same second did before."""
    second = int(time())
    store = make(clock=lambda: second, message_timeout=86400, channel_timeout=60)
    stream, state = f"{prefix}{{00}}:messages:a", f"{prefix}{{00}}:channel:a"
    with valkey.client() as client:
        client.set(f"{prefix}{{00}}:mark", 1)  # The store is old.
        if before == "poll":
            await store.next("a", START)
            assert client.ttl(state) <= 60 + 3600
        elif before != "nothing":
            await append(store)
            await append(store)
        if before == "eviction":
            client.delete(stream)
        elif before == "unkept":
            await store.append(Update("a", b""), keep=False)
        elif before == "older message":
            client.expire(stream, 1000)
            second += 1
        await append(store)
        assert 86400 - 10 <= client.ttl(stream) <= 86400 + 2
        assert client.ttl(state) > 86400 + 3600 - 10


async def test_ids_continue_after_an_evicted_hash(
    make: MakeStore, valkey: Valkey, prefix: str
) -> None:
    """Ids continue if Redis evicts the hash of a channel but not its messages."""
    store = make()
    first = await append(store, b"1")
    with valkey.client() as client:
        client.delete(f"{prefix}{{00}}:channel:a")
    second = await append(store, b"2")
    assert second.id > first.id
    assert second.previous == first.id
    assert await kept(store) == [b"1", b"2"]


async def test_lost_scripts_are_loaded_again(make: MakeStore, valkey: Valkey) -> None:
    """Scripts that Redis has lost are loaded again."""
    store = make()
    await append(store, b"1")
    valkey.run("SCRIPT", "FLUSH")
    await append(store, b"2")
    assert await kept(store) == [b"1", b"2"]


async def test_emptied_store(make: MakeStore, prefix: str) -> None:
    """Ids grow after a store was emptied, and clients get a gap."""
    with Valkey() as own:
        store = make(own.url)
        own.run("SET", f"{prefix}{{00}}:mark", 1)  # The store is old.
        await append(store, b"1")
        before = await append(store, b"2")
        own.run("FLUSHALL")
        after = await append(store, b"3")
        assert after.id > before.id
        found = await store.next("a", before.id)
        assert found == after
        gap = found.gap_after(before.id)
        assert gap is not None
        assert before.id < gap < after.id
        assert found.gap_after(START) is None
        # Ids stay unique even if the store is emptied twice in one second.
        for _ in range(20):
            own.run("FLUSHALL")
            again = await append(store, b"4")
            assert again.id > after.id
            assert again.gap_after(after.id) is not None
            after = again


@pytest.mark.parametrize(("prefix_of_other", "database"), [("other:", 0), ("", 1)])
async def test_two_stores_of_one_redis(
    make: MakeStore,
    valkey: Valkey,
    prefix: str,
    prefix_of_other: str,
    database: int,
) -> None:
    """Stores in one Redis with different prefixes or databases share nothing."""
    store = make()
    other = RedisStore(
        RedisStoreSettings(
            type="redis",
            port=valkey.port,
            database=database,
            key_prefix=prefix_of_other or prefix,
        )
    )
    await wait(store)
    await other.append(Update("a", b"other"))
    assert await kept(store) == []
    assert heard(store) == []
    await other.delete("a")
    await other.aclose()
