"""What Redis itself removes of messages with a time limit of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from pushserver.publishers import Update
from pushserver_channels.messages import START
from pushserver_channels.stores.redis import RedisStore
from tests.stores.conftest import Clock, attach_audience, make_redis_store
from tests.valkey import Valkey

GRACE = 3600


class Channel:
    """A channel of a store in Redis, and the keys that it has there."""

    def __init__(self, store: RedisStore, valkey: Valkey) -> None:
        self.store = store
        self.valkey = valkey
        self.prefix = store.commands.find("a").shard.prefix

    async def append(self, expires: float | None, keep: bool = True) -> None:
        """Append a message."""
        await self.store.append(Update("a", b"x", expires=expires), keep=keep)

    def run(self, command: str, kind: str, *arguments: str) -> Any:
        """Run a command on a key of the channel."""
        return self.valkey.run(command, f"{self.prefix}:{kind}:a", *arguments)

    def ttl(self, kind: str) -> int:
        """Return the seconds after which Redis removes a key, -1 never, -2 if gone."""
        return int(self.run("TTL", kind))


@pytest.fixture
async def channel(valkey: Valkey) -> AsyncIterator[Channel]:
    """A channel of a store without limits."""
    store = make_redis_store(valkey, Clock(), channel_timeout=60)
    attach_audience(store)
    yield Channel(store, valkey)
    await store.aclose()


async def test_stream_ends_with_its_last_message(channel: Channel) -> None:
    """If all messages have an end, Redis removes the keys after the last one."""
    await channel.append(100)
    await channel.append(500)
    await channel.append(30)
    assert 495 <= channel.ttl("messages") <= 501
    assert 495 <= channel.ttl("ends") <= 501
    assert channel.ttl("messages") + GRACE - 5 <= channel.ttl("channel")
    assert channel.ttl("channel") <= 501 + GRACE


async def test_stream_with_an_endless_message_does_not_end(channel: Channel) -> None:
    """If one message has no end, Redis keeps the stream, whatever comes first."""
    await channel.append(100)
    await channel.append(None)
    assert channel.ttl("messages") == channel.ttl("ends") == -1
    await channel.append(100)
    assert channel.ttl("messages") == -1
    assert channel.ttl("channel") == -1


async def test_endless_message_is_not_removed_with_later_ones(channel: Channel) -> None:
    """A message without an end is kept when one with an end follows in its second."""
    await channel.append(None)
    await channel.append(5)
    assert channel.ttl("messages") == -1


async def test_stream_ends_again_after_its_endless_messages_are_gone(
    valkey: Valkey,
) -> None:
    """After a channel was empty, it is known again that all messages have an end."""
    store = make_redis_store(valkey, Clock(), max_messages=1)
    attach_audience(store)
    channel = Channel(store, valkey)
    await channel.append(None)
    assert channel.ttl("messages") == -1
    await channel.append(50)
    assert 45 <= channel.ttl("messages") <= 51
    await store.aclose()


async def test_ends_are_removed_with_the_channel(channel: Channel) -> None:
    """A deleted channel leaves no ends, and one without ends has no key for them."""
    await channel.append(None)
    assert channel.run("EXISTS", "ends") == 0
    await channel.append(5)
    assert channel.run("EXISTS", "ends") == 1
    await channel.store.delete("a")
    assert channel.run("EXISTS", "ends") == channel.run("EXISTS", "messages") == 0


async def test_hash_that_was_evicted(valkey: Valkey) -> None:
    """If Redis evicts the hash, ids still increase and messages still end."""
    clock = Clock()
    store = make_redis_store(valkey, clock)
    attach_audience(store)
    channel = Channel(store, valkey)
    await channel.append(None)
    await channel.append(5)
    clock.move(10)
    await store.info("a")
    await channel.append(20)
    newest = (await store.info("a")).last_message_id
    channel.run("DEL", "channel")
    await channel.append(None)
    assert (await store.info("a")).last_message_id > newest
    clock.move(30)
    assert len(await store.page("a", START, 10)) == 2
    await store.aclose()
