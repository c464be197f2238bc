"""Each kind of store behaves like the model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import override_settings
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from pushserver_channels.messages import MessageId
from pushserver_channels.stores import layer as layer_store
from pushserver_channels.stores.layer import ChannelLayerStore
from pushserver_channels.stores.redis import RedisStore
from pushserver_channels.stores.redis.scripts import GRACE
from tests.valkey import Valkey

from .conftest import LAYERS, make_layer_store, make_redis_store
from .contract import FUTURE
from .model import CHANNELS, Model, StoreMachine

TestStoreMachine = StoreMachine.TestCase


class LayerStoreMachine(StoreMachine):
    """Compares a store over a channel layer with the model."""

    def make_store(self, **limits: int) -> ChannelLayerStore:
        return make_layer_store(self.clock, **limits)


@pytest.fixture
def layer_of_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(layer_store, "TRANSIT_TIME", 0)  # No other process publishes.
    with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": LAYERS["memory"]}}):
        yield


#: The number of examples, unless the tier tries fewer.
EXAMPLES = min(50, settings.default.max_examples)

LayerStoreMachine.TestCase.settings = settings(max_examples=EXAMPLES)
TestLayerStoreMachine = pytest.mark.usefixtures("layer_of_machine")(
    LayerStoreMachine.TestCase
)


ROOM = "pushserver_channels.stores.redis"


class RedisStoreMachine(StoreMachine):
    """Compares a store in Redis with the model."""

    valkey: Valkey

    @initialize(
        min_messages=st.integers(0, 2),
        max_messages=st.sampled_from([0, 2, 3, 5]),
        message_timeout=st.sampled_from([0, 1, 5]),
        channel_timeout=st.sampled_from([0, 3, 10]),
        steps_back=st.booleans(),
    )
    def start(self, steps_back: bool, **limits: int) -> None:
        limits |= {"max_channels": 0, "max_empty_channels": 0}
        super().start(steps_back=steps_back, **limits)

    def make_store(self, **limits: int) -> RedisStore:
        return make_redis_store(self.valkey, self.clock, **limits)

    def first_previous(self, channel_id: str, message_id: MessageId) -> object:
        # A channel remembers its ids for a while; after that no id can be younger.
        oldest = MessageId(int(self.clock.now) - GRACE, 0)
        return self.last_ids.get(channel_id) or oldest

    def find(self, channel_id: str, create: bool) -> Model | type[Exception]:
        # There is no sweep: channels expire when they are requested.
        channel = self.channels.get(channel_id)
        if channel is not None:
            self.expire(channel)
            if self.is_idle(channel_id):
                self.drop(channel_id)
        return super().find(channel_id, create)

    def has_keys(self, channel_id: str) -> bool:
        return channel_id in self.last_ids

    @rule(channel_id=CHANNELS)
    def delete(self, channel_id: str) -> None:
        exists = isinstance(self.find(channel_id, create=False), Model)
        super().delete(channel_id=channel_id)
        if exists:
            # It is noted that a channel was deleted, also one without messages.
            oldest = MessageId(int(self.clock.now) - GRACE, 0)
            self.last_ids.setdefault(channel_id, oldest)

    @rule(channel_id=CHANNELS)
    def wait(self, channel_id: str) -> None:
        # Subscribing requests a message first, which creates the channel.
        self.next(
            channel_id=channel_id, after=FUTURE, step=0, create=True, at_once=False
        )
        super().wait(channel_id=channel_id)
        self.next(
            channel_id=channel_id, after=FUTURE, step=0, create=True, at_once=False
        )

    def free(self) -> None:
        pass

    def no_channel_is_kept_in_secret(self) -> None:
        pass


@pytest.fixture
def valkey_of_machine(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RedisStoreMachine, "valkey", valkey, raising=False)
    for module in ("listening", "store"):
        monkeypatch.setattr(f"{ROOM}.{module}.RECORD_INTERVAL", 0)


RedisStoreMachine.TestCase.settings = settings(max_examples=EXAMPLES)
TestRedisStoreMachine = pytest.mark.usefixtures("valkey_of_machine")(
    RedisStoreMachine.TestCase
)
