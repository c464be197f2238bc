from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from importlib.util import find_spec
from itertools import count
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.test import override_settings

from pushserver.conf import (
    ChannelLayerStoreSettings,
    MemoryStoreSettings,
    RedisStoreSettings,
)
from pushserver.publishers import Update
from pushserver_channels.messages import Message
from pushserver_channels.stores import Store
from pushserver_channels.stores.layer import ChannelLayerStore
from pushserver_channels.stores.memory import MemoryStore
from pushserver_channels.stores.redis import RedisStore
from tests.valkey import Valkey

#: The initial time of a test's clock: in the middle of a second.
START_OF_CLOCK = 1_700_000_000.5


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = START_OF_CLOCK

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        """Move the clock forward, or back if seconds are negative."""
        self.now += seconds


class Audience:
    """Records the messages that a store delivers to subscribers.

    Attributes:
        waiting: The channels that have subscribers.
    """

    def __init__(self) -> None:
        self.waiting: set[str] = set()
        self.delivered: list[tuple[str, Message]] = []
        self.dropped: list[str] = []

    def deliver(self, channel_id: str, message: Message) -> bool:
        self.delivered.append((channel_id, message))
        return channel_id in self.waiting

    def drop(self, channel_id: str) -> None:
        self.dropped.append(channel_id)


_audiences: WeakKeyDictionary[Store, Audience] = WeakKeyDictionary()


def attach_audience(store: Store) -> None:
    """Attach a new audience to a store."""
    _audiences[store] = Audience()
    store.attach(_audiences[store])


def audience_of(store: Store) -> Audience:
    """Return the audience that is attached to a store."""
    return _audiences[store]


class Subject:
    """A store under test, with its clock and its audience."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.audience = Audience()
        store.attach(self.audience)

    def free(self) -> None:
        """Let the store free what has expired, as its own timer would."""
        if isinstance(self.store, MemoryStore):
            self.store.sweep()

    def wait(self, channel_id: str) -> None:
        """Add a subscriber to a channel."""
        self.audience.waiting.add(channel_id)
        self.store.listen(channel_id)

    def leave(self, channel_id: str) -> None:
        """Remove the subscriber from a channel."""
        self.audience.waiting.discard(channel_id)
        self.store.unlisten(channel_id)

    async def append(self, channel_id: str, body: bytes = b"") -> Message:
        """Append a message and return it."""
        return (await self.store.append(Update(channel_id, body))).message


MakeSubject = Callable[..., Subject]

#: The channel layers under test.
LAYERS = {
    "memory": "channels.layers.InMemoryChannelLayer",
    "redis": "channels_redis.core.RedisChannelLayer",
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
}

_prefixes = (f"{number}:" for number in count())


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """A real Valkey; each test uses its own key prefix."""
    with Valkey() as process:
        yield process


def make_memory_store(clock: Clock, **limits: Any) -> MemoryStore:
    """Return a new memory store."""
    return MemoryStore(MemoryStoreSettings(type="memory", **limits), clock)


def make_redis_store(valkey: Valkey, clock: Clock, **limits: Any) -> RedisStore:
    """Return a store in Valkey with its own key prefix."""
    prefix = next(_prefixes)
    with valkey.client() as client:
        # Mark the store as existing since the epoch, so that a channel's first message
        # has no previous message.
        client.set(f"{prefix}{{00}}:mark", 0)
    settings = RedisStoreSettings(
        type="redis", url=valkey.url, key_prefix=prefix, **limits
    )
    return RedisStore(settings, clock)


def make_layer_store(clock: Clock, **limits: Any) -> ChannelLayerStore:
    """Return a memory store with a channel layer, in its own group."""
    settings = ChannelLayerStoreSettings(
        type="channel_layer", group=next(_prefixes), **limits
    )
    return ChannelLayerStore(settings, clock, is_late=False)


def need_channels_redis() -> None:
    """Skip the test without channels_redis, and say how to install it; in CI, fail."""
    if find_spec("channels_redis") is None:
        how = "channels_redis is not installed: pip install channels_redis"
        if os.environ.get("CI"):
            pytest.fail(how)
        pytest.skip(how)


def layer_settings(kind: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return CHANNEL_LAYERS with a layer; layers in Redis use a real Valkey."""
    layer: dict[str, Any] = {"BACKEND": LAYERS[kind]}
    if kind != "memory":
        need_channels_redis()
        valkey = request.getfixturevalue("valkey")
        # More messages than any test sends at once: other tests are about a full layer.
        layer["CONFIG"] = {"hosts": [valkey.url]}
        if kind == "redis":
            layer["CONFIG"]["capacity"] = 1000
    return {"default": layer}


async def close_layer() -> None:
    """Close the connections of the layer in CHANNEL_LAYERS."""
    layer = get_channel_layer()
    if not isinstance(layer, InMemoryChannelLayer):
        await layer.flush()
        # Let the layer's tasks end.
        await asyncio.sleep(0)


#: The kinds of stores; those in Redis do not limit the number of channels.
LIMITED = ("memory", *(f"layer {kind}" for kind in LAYERS))
KINDS = ("redis", *LIMITED)


@pytest.fixture(params=KINDS)
async def make(request: pytest.FixtureRequest) -> AsyncIterator[MakeSubject]:
    """Make stores of each kind, with limits as keyword arguments."""
    made = []
    store_kind, _, layer_kind = request.param.partition(" ")
    layers = layer_settings(layer_kind, request) if layer_kind else {}

    def make(**limits: Any) -> Subject:
        clock = Clock()
        store: Store
        if store_kind == "memory":
            store = make_memory_store(clock, **limits)
        elif store_kind == "layer":
            store = make_layer_store(clock, **limits)
        else:
            valkey = request.getfixturevalue("valkey")
            store = make_redis_store(valkey, clock, **limits)
        subject = Subject(store, clock)
        made.append(subject)
        return subject

    with override_settings(CHANNEL_LAYERS=layers):
        yield make
        for subject in made:
            await subject.store.aclose()
        if layers:
            await close_layer()
