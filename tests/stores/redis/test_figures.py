"""The channels in Redis, looked at without changing anything."""

from __future__ import annotations

import pytest
import redis

from pushserver_channels.exceptions import StoreUnavailable
from tests.valkey import Cluster, Valkey

from .actions import MakeStore, append, messages_key


@pytest.mark.left_to_all("channels of a cluster")
async def test_a_scan_of_a_cluster(make: MakeStore) -> None:
    """A scan finds the channels of all servers."""
    ids = [f"channel {number}" for number in range(20)]
    with Cluster(2) as cluster:
        store = make(cluster.url)
        for channel_id in ids:
            await append(store, b"1", channel_id)
        assert len(store.commands.network.connections) == 2
        found = [each async for some in store.scan("9".__ne__) for each in some]
        assert sorted(each.channel_id for each in found) == sorted(ids)
        assert {each.messages for each in found} == {1}
        assert len(await store.newest("channel 7", 10)) == 1


async def test_looking_writes_nothing(
    make: MakeStore, valkey: Valkey, prefix: str
) -> None:
    """What is read keeps its time limits, and other keys are not taken for channels."""
    store = make(message_timeout=100)
    await append(store, b"1")
    await store.write_snapshot("web1:7", b"{}", 30)
    with redis.Redis.from_url(valkey.url) as client:
        client.set(f"{prefix}other", "no channel")
        before = client.hgetall(messages_key(prefix).replace("messages", "channel"))
        found = [
            each.channel_id async for some in store.scan(str.isalpha) for each in some
        ]
        assert found == ["a"]
        assert len(await store.newest("a", 10)) == 1
        after = client.hgetall(messages_key(prefix).replace("messages", "channel"))
    assert before == after


async def test_a_store_that_is_not_reached(make: MakeStore) -> None:
    """Looking fails as all else does."""
    store = make(url="redis://127.0.0.1:1/0")
    with pytest.raises(StoreUnavailable):
        await store.measure(["a"])
    with pytest.raises(StoreUnavailable):
        await store.newest("a", 10)
    with pytest.raises(StoreUnavailable):
        async for _ in store.scan(str.isalpha):
            raise AssertionError("nothing listens there")
