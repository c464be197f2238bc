"""Actions of the tests on a store in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pushserver.publishers import Update
from pushserver_channels.exceptions import StoreUnavailable
from pushserver_channels.messages import START, Message, MessageId
from pushserver_channels.stores.redis import RedisStore
from tests.proxies import Proxy
from tests.stores.conftest import audience_of
from tests.waiting import until

ROOM = "pushserver_channels.stores.redis"

MakeStore = Callable[..., RedisStore]

FUTURE = MessageId(2**40, 0)

#: The shard of the channels in these tests.
SHARD = "{00}"


def messages_key(prefix: str, channel_id: str = "a") -> str:
    """Return the key of the messages of a channel."""
    return f"{prefix}{SHARD}:messages:{channel_id}"


def url_of(proxy: Proxy) -> str:
    return f"redis://127.0.0.1:{proxy.port}/0"


def heard(store: RedisStore) -> list[bytes]:
    """Return the bodies that were delivered to subscribers."""
    return [message.body for _, message in audience_of(store).delivered]


async def wait(store: RedisStore, channel_id: str = "a") -> None:
    """Subscribe to a channel."""
    audience_of(store).waiting.add(channel_id)
    store.listen(channel_id)
    assert await store.next(channel_id, FUTURE) is None


async def append(
    store: RedisStore, body: bytes = b"", channel_id: str = "a"
) -> Message:
    return (await store.append(Update(channel_id, body))).message


async def kept(store: RedisStore, channel_id: str = "a") -> list[bytes]:
    """Return the bodies that a subscriber reads one after the other."""
    bodies, after = [], START
    while (message := await store.next(channel_id, after)) is not None:
        bodies.append(message.body)
        after = message.id
    return bodies


async def oldest(store: RedisStore) -> Message:
    message = await store.next("a", START)
    assert message is not None
    return message


async def until_nobody_listens(store: RedisStore) -> None:
    """Wait until no other process subscribes to the channel ``a``."""

    async def nobody_listens() -> bool:
        return not (await store.info("a")).subscribers

    await until(nobody_listens)


async def kept_at_last(store: RedisStore) -> list[bytes]:
    """Return the messages that are kept; retry while the store is unavailable."""
    while True:
        try:
            return await kept(store)
        except StoreUnavailable:
            await asyncio.sleep(0.01)


async def publish_at_last(
    store: RedisStore, body: bytes, channel_id: str = "a"
) -> Message:
    """Append a message; retry while the store is unavailable."""
    while True:
        try:
            return await append(store, body, channel_id)
        except StoreUnavailable:
            await asyncio.sleep(0.05)
