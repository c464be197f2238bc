"""A model of a store, and a machine that compares a store with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from pushserver.conf import MemoryStoreSettings
from pushserver.publishers import Update
from pushserver_channels.exceptions import (
    ChannelNotFound,
    TooManyChannels,
    TooManyEmptyChannels,
)
from pushserver_channels.messages import START, Message, MessageId
from pushserver_channels.stores import Store, empty, memory
from pushserver_channels.stores.memory import MemoryStore

from .conftest import Clock, Subject
from .contract import FUTURE

CHANNELS = st.sampled_from(["a", "b", "c"])


class Model:
    """A model of a channel with plain lists.

    Attributes:
        is_empty: Whether only subscribers' requests created it.
    """

    def __init__(self, now: float, floor: MessageId | None, is_empty: bool) -> None:
        self.is_empty = is_empty
        self.floor = floor
        self.messages: list[Message] = []
        self.last_id: MessageId | None = None
        self.used_at = now
        self.requested_at: float | None = None


class StoreMachine(RuleBasedStateMachine):
    """Applies random operations to a store and to the model, and compares both."""

    ids = Bundle("ids")

    @initialize(
        min_messages=st.integers(0, 2),
        max_messages=st.sampled_from([0, 2, 3, 5]),
        message_timeout=st.sampled_from([0, 1, 5]),
        channel_timeout=st.sampled_from([0, 3, 10]),
        max_channels=st.sampled_from([0, 0, 2]),
        max_empty_channels=st.sampled_from([0, 1, 2]),
        steps_back=st.booleans(),
    )
    def start(self, steps_back: bool, **limits: int) -> None:
        self.steps_back = steps_back
        self.limits = limits
        self.loop = asyncio.new_event_loop()
        # A rule of this machine frees expired messages, not a timer.
        self.interval, memory.SWEEP_INTERVAL = memory.SWEEP_INTERVAL, 10**6
        self.empty_timeout, empty.EMPTY_TIMEOUT = empty.EMPTY_TIMEOUT, 5
        self.clock = Clock()
        self.subject = Subject(self.make_store(**limits), self.clock)
        self.channels: dict[str, Model] = {}
        self.floor: MessageId | None = None
        self.last_ids: dict[str, MessageId] = {}
        self.latest = self.clock.now

    def run(self, function: Callable[[str], None], channel_id: str) -> None:
        """Call a function while the event loop runs."""

        async def call() -> None:
            function(channel_id)

        self.loop.run_until_complete(call())

    def make_store(self, **limits: int) -> Store:
        return MemoryStore(MemoryStoreSettings(type="memory", **limits), self.clock)

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.run_until_complete(self.subject.store.aclose())
            self.loop.close()
            memory.SWEEP_INTERVAL = self.interval
            empty.EMPTY_TIMEOUT = self.empty_timeout

    # The model

    def first_previous(self, channel_id: str, message_id: MessageId) -> object:
        """Return the previous id of a channel's first message."""
        return self.channels[channel_id].floor

    def drop(self, channel_id: str) -> None:
        """Remove a channel."""
        last_id = self.channels.pop(channel_id).last_id
        if last_id is not None:
            self.floor = max(self.floor or last_id, last_id)

    def expire(self, channel: Model) -> None:
        channel.messages = [
            each
            for each in channel.messages
            if each.expires is None
            or int(self.clock.now) <= each.id.time + each.expires
        ]
        timeout = self.limits["message_timeout"]
        while (
            timeout
            and len(channel.messages) > self.limits["min_messages"]
            and int(self.clock.now) > channel.messages[0].id.time + timeout
        ):
            del channel.messages[0]

    def find(self, channel_id: str, create: bool) -> Model | type[Exception]:
        if channel_id in self.channels:
            return self.channels[channel_id]
        if not create:
            return ChannelNotFound
        if not self.may_add(channel_id):
            return TooManyChannels
        self.channels[channel_id] = Model(self.clock.now, self.floor, is_empty=False)
        return self.channels[channel_id]

    def may_add(self, channel_id: str) -> bool:
        """Return whether there are fewer channels than max_channels."""
        stored = [each for each in self.channels.values() if not each.is_empty]
        return not 0 < self.limits["max_channels"] <= len(stored)

    def find_for_publisher(
        self, channel_id: str, create: bool
    ) -> Model | type[Exception]:
        """Return a channel, which is not an empty one from now on."""
        channel = self.find(channel_id, create=False)
        is_awaited = channel_id in self.subject.audience.waiting
        if isinstance(channel, Model):
            if channel.is_empty and not is_awaited and not self.may_add(channel_id):
                return TooManyChannels
            channel.is_empty = False
            return channel
        if create and is_awaited:
            self.channels[channel_id] = Model(self.clock.now, self.floor, False)
        return self.find(channel_id, create)

    def find_for_subscriber(
        self, channel_id: str, create: bool
    ) -> Model | type[Exception]:
        """Return a channel, which is an empty one if it did not exist."""
        channel = self.find(channel_id, create=False)
        if isinstance(channel, Model) or not create:
            return channel
        if not self.may_add(channel_id):
            return TooManyChannels
        if not self.has_keys(channel_id):
            ids = [key for key, each in self.channels.items() if each.is_empty]
            if 0 < self.limits["max_empty_channels"] <= len(ids):
                waiting = self.subject.audience.waiting
                idle = [each for each in ids if each not in waiting]
                if not idle:
                    return TooManyEmptyChannels
                del self.channels[idle[0]]
        channel = Model(self.clock.now, self.floor, not self.has_keys(channel_id))
        self.channels[channel_id] = channel
        return channel

    def has_keys(self, channel_id: str) -> bool:
        """Return whether the store knows a channel that does not exist."""
        return False

    def use(self, channel_id: str) -> None:
        """Record that a channel is used now: it is the last one in its order."""
        channel = self.channels[channel_id] = self.channels.pop(channel_id)
        channel.used_at = self.clock.now

    def is_idle(self, channel_id: str) -> bool:
        """Return whether the time of a channel is up."""
        channel = self.channels[channel_id]
        timeout = self.limits["channel_timeout"]
        if channel.is_empty:
            timeout = min(timeout or empty.EMPTY_TIMEOUT, empty.EMPTY_TIMEOUT)
        return (
            0 < timeout <= self.clock.now - channel.used_at
            and not channel.messages
            and channel_id not in self.subject.audience.waiting
        )

    def check_info(self, info: object, channel: Model) -> None:
        asked = channel.requested_at
        assert info == memory.ChannelInfo(
            messages=len(channel.messages),
            requested=-1 if asked is None else max(int(self.clock.now - asked), 0),
            last_message_id=channel.last_id or MessageId(0, 0),
        )

    # The rules

    @rule(
        target=ids,
        channel_id=CHANNELS,
        body=st.binary(max_size=3),
        keep=st.booleans(),
        create=st.booleans(),
        expires=st.sampled_from([None, None, 1, 4, 9]),
    )
    def append(
        self,
        channel_id: str,
        body: bytes,
        keep: bool,
        create: bool,
        expires: float | None,
    ) -> object:
        update = Update(channel_id, body, body or None, expires=expires)
        appending = self.subject.store.append(update, keep=keep, create=create)
        channel = self.find_for_publisher(channel_id, create)
        if not isinstance(channel, Model):
            with pytest.raises(channel):
                self.loop.run_until_complete(appending)
            return multiple()
        self.subject.audience.delivered.clear()
        message, info, delivered, _ = self.loop.run_until_complete(appending)
        previous = channel.last_id or self.first_previous(channel_id, message.id)
        assert message == Message(
            message.id, body, body or None, previous, expires=expires
        )
        # Ids grow, even over deletions, and their time is one that the clock has shown.
        assert message.id > self.last_ids.get(channel_id, START)
        assert int(self.clock.now) <= message.id.time <= int(self.latest)
        assert message.id.tag >= 0
        assert delivered == (channel_id in self.subject.audience.waiting)
        if delivered:
            assert self.subject.audience.delivered == [(channel_id, message)]
        self.use(channel_id)
        channel.last_id = self.last_ids[channel_id] = message.id
        if keep:
            channel.messages.append(message)
            if self.limits["max_messages"]:
                del channel.messages[: -self.limits["max_messages"]]
        self.expire(channel)
        self.check_info(info, channel)
        return message.id

    @rule(
        channel_id=CHANNELS,
        after=st.one_of(ids, st.sampled_from([START, MessageId(0, 0), FUTURE])),
        step=st.integers(-1, 1),
        create=st.booleans(),
        at_once=st.booleans(),
    )
    def next(
        self, channel_id: str, after: MessageId, step: int, create: bool, at_once: bool
    ) -> None:
        after = after._replace(tag=max(after.tag + step, -1))

        async def has_nothing() -> bool:
            return self.subject.store.has_nothing(channel_id, after)

        if at_once and self.loop.run_until_complete(has_nothing()):
            channel = self.channels[channel_id]
            self.use(channel_id)
            channel.requested_at = self.clock.now
            assert all(each.id <= after for each in channel.messages)
            return
        asking = self.subject.store.next(channel_id, after, create=create)
        channel = self.find_for_subscriber(channel_id, create)
        if not isinstance(channel, Model):
            with pytest.raises(channel):
                self.loop.run_until_complete(asking)
            return
        found = self.loop.run_until_complete(asking)
        self.use(channel_id)
        channel.requested_at = self.clock.now
        self.expire(channel)
        newer = [each for each in channel.messages if each.id > after]
        assert found == (newer[0] if newer else None)

    @rule(channel_id=CHANNELS)
    def info(self, channel_id: str) -> None:
        asking = self.subject.store.info(channel_id)
        channel = self.find(channel_id, create=False)
        if not isinstance(channel, Model):
            with pytest.raises(channel):
                self.loop.run_until_complete(asking)
            return
        info = self.loop.run_until_complete(asking)
        self.use(channel_id)
        self.expire(channel)
        self.check_info(info, channel)

    @rule(channel_id=CHANNELS)
    def create(self, channel_id: str) -> None:
        creating = self.subject.store.create(channel_id)
        channel = self.find_for_publisher(channel_id, create=True)
        if not isinstance(channel, Model):
            with pytest.raises(channel):
                self.loop.run_until_complete(creating)
            return
        info = self.loop.run_until_complete(creating)
        self.use(channel_id)
        self.expire(channel)
        self.check_info(info, channel)

    @rule(channel_id=CHANNELS)
    def delete(self, channel_id: str) -> None:
        deleting = self.subject.store.delete(channel_id)
        channel = self.find(channel_id, create=False)
        if not isinstance(channel, Model):
            with pytest.raises(channel):
                self.loop.run_until_complete(deleting)
            return
        self.subject.audience.dropped.clear()
        info = self.loop.run_until_complete(deleting)
        self.expire(channel)
        self.check_info(info, channel)
        if channel_id in self.subject.audience.waiting:
            assert self.subject.audience.dropped == [channel_id]
            self.run(self.subject.leave, channel_id)
        self.drop(channel_id)

    @rule(channel_id=CHANNELS)
    def wait(self, channel_id: str) -> None:
        if channel_id not in self.subject.audience.waiting:
            self.run(self.subject.wait, channel_id)

    @rule(channel_id=CHANNELS)
    def leave(self, channel_id: str) -> None:
        if channel_id in self.subject.audience.waiting:
            self.run(self.subject.leave, channel_id)
            if channel_id in self.channels:
                self.use(channel_id)

    @rule(step=st.sampled_from([0.25, 0.5, 1, 2, 3, 11, -0.25, -1, -7]))
    def move_clock(self, step: float) -> None:
        self.clock.move(step if self.steps_back else abs(step))
        self.latest = max(self.latest, self.clock.now)

    @rule()
    def free(self) -> None:
        async def free() -> None:
            self.subject.free()

        self.loop.run_until_complete(free())
        store = self.subject.store
        assert isinstance(store, MemoryStore)
        for channel_id, channel in list(self.channels.items()):
            self.expire(channel)
            # A clock that steps back may extend the life of a channel.
            is_extended = self.steps_back and store.find_existing(channel_id)
            if self.is_idle(channel_id) and not is_extended:
                self.drop(channel_id)

    @rule(message_id=consumes(ids))
    def forget(self, message_id: MessageId) -> None:
        """Drop an old id, so that newer ones are used more often."""

    @invariant()
    def no_channel_is_kept_in_secret(self) -> None:
        if hasattr(self, "subject"):
            assert isinstance(self.subject.store, MemoryStore)
            stored = {key for key, each in self.channels.items() if not each.is_empty}
            assert set(self.subject.store.channels) == stored
            assert set(self.subject.store.empty) == set(self.channels) - stored
