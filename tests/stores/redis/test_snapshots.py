"""Processes show each other their metrics in Redis."""

from __future__ import annotations

import redis

from tests.valkey import Valkey
from tests.waiting import until

from .actions import MakeStore


async def test_processes_read_each_other(make: MakeStore) -> None:
    """Each process reads what all have written, the newest of each."""
    one, other = make(), make()
    assert await one.read_snapshots() == {}
    await one.write_snapshot("web1:7", b"old", 30)
    await one.write_snapshot("web1:7", b"new", 30)
    await other.write_snapshot("web2:7", b"{}", 30)
    both = {"web1:7": b"new", "web2:7": b"{}"}
    assert await one.read_snapshots() == both
    assert await other.read_snapshots() == both


async def test_processes_that_have_ended_are_forgotten(
    make: MakeStore, valkey: Valkey, prefix: str
) -> None:
    """What has expired is not read, and leaves no key behind."""
    store = make()
    await store.write_snapshot("web1:7", b"old", 1)
    await store.write_snapshot("web2:7", b"new", 30)

    async def only_one() -> bool:
        return await store.read_snapshots() == {"web2:7": b"new"}

    await until(only_one)
    with redis.Redis.from_url(valkey.url) as client:
        names = f"{prefix}{{00}}:metrics"
        assert client.hkeys(names) == [b"web2:7"]
        assert 0 < client.ttl(names) <= 3600
        assert 0 < client.ttl(f"{names}:web2:7") <= 30


async def test_a_store_that_is_down_is_noticed(make: MakeStore, valkey: Valkey) -> None:
    """A store counts what has failed, and its check fails until Redis answers."""
    from pushserver_channels.exceptions import StoreUnavailable

    store = make()
    await store.check_health()
    assert store.errors == 0
    lost = make(url="redis://127.0.0.1:1/0")
    for _ in range(2):
        try:
            await lost.check_health()
        except StoreUnavailable:
            continue
        raise AssertionError("nothing listens there")
    assert lost.errors == 1  # The second one did not try again so soon.
    assert store.count_kept() is None
