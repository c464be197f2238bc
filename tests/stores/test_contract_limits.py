"""The number of channels and their lifetime; on each kind of store."""

from __future__ import annotations

import pytest

from pushserver.publishers import Update
from pushserver_channels.exceptions import ChannelNotFound, TooManyChannels
from pushserver_channels.messages import START

from .conftest import MakeSubject
from .contract import kept, limited


@limited
async def test_max_channels(make: MakeSubject) -> None:
    """Any operation that would exceed max_channels is refused."""
    subject = make(max_channels=2)
    await subject.append("a")
    await subject.store.create("b")
    for attempt in (
        subject.append("c"),
        subject.store.create("c"),
        subject.store.next("c", START),
        subject.store.append(Update("c", b""), keep=False),
    ):
        with pytest.raises(TooManyChannels):
            await attempt
    assert len(subject.audience.delivered) == 1
    await subject.append("a")
    await subject.store.create("b")
    await subject.store.delete("b")
    await subject.store.create("c")
    with pytest.raises(ChannelNotFound):
        await subject.store.info("b")


@limited
async def test_missing_channel_is_reported_before_max_channels(
    make: MakeSubject,
) -> None:
    """A request that may not create a channel gets "not found", not "too many"."""
    subject = make(max_channels=1)
    await subject.append("a")
    with pytest.raises(ChannelNotFound):
        await subject.store.next("b", START, create=False)


@pytest.mark.parametrize("use", ["create", "append", "next", "info", "unkept"])
async def test_channel_timeout(make: MakeSubject, use: str) -> None:
    """A channel is removed channel_timeout seconds after its last use."""
    subject = make(channel_timeout=100, message_timeout=1)
    await subject.store.create("a")
    subject.clock.move(90)
    subject.free()
    if use == "create":
        await subject.store.create("a")
    elif use == "append":
        await subject.append("a")
    elif use == "next":
        await subject.store.next("a", START)
    elif use == "info":
        await subject.store.info("a")
    else:
        await subject.store.append(Update("a", b""), keep=False)
    subject.clock.move(99)
    subject.free()
    before = subject.clock.now
    # info() counts as a use, so call it at a time at which that changes nothing.
    subject.clock.move(-99)
    await subject.store.info("a")
    subject.clock.now = before + 1
    subject.free()
    with pytest.raises(ChannelNotFound):
        await subject.store.info("a")


async def test_channel_with_messages_is_not_removed(make: MakeSubject) -> None:
    """A channel exists as long as it has a message, and ends with the last one."""
    subject = make(channel_timeout=10, message_timeout=100)
    message = await subject.append("a", b"news")
    for _ in range(10):
        subject.clock.move(10)
        subject.free()
    assert await kept(subject) == [b"news"]
    subject = make(channel_timeout=10, message_timeout=100)
    message = await subject.append("a", b"news")
    subject.clock.now = message.id.time + 101
    subject.free()
    with pytest.raises(ChannelNotFound):
        await subject.store.info("a")


async def test_channel_with_messages_without_expiry_is_never_removed(
    make: MakeSubject,
) -> None:
    """A channel whose messages do not expire is never removed."""
    subject = make(channel_timeout=10)
    await subject.append("a", b"news")
    subject.clock.move(10**6)
    subject.free()
    assert await kept(subject) == [b"news"]


async def test_channel_without_messages_exists_until_its_timeout(
    make: MakeSubject,
) -> None:
    """A channel without messages still exists until its timeout."""
    subject = make(channel_timeout=100, message_timeout=10)
    await subject.append("a", b"news")
    subject.clock.move(50)
    subject.free()
    assert await subject.store.next("a", START, create=False) is None


async def test_channel_with_subscribers_is_not_removed(make: MakeSubject) -> None:
    """A channel exists while it has subscribers, and then for channel_timeout."""
    subject = make(channel_timeout=100)
    await subject.store.create("a")
    subject.wait("a")
    for _ in range(5):
        subject.clock.move(100)
        subject.free()
    subject.leave("a")
    subject.clock.move(99)
    subject.free()
    subject.clock.move(-99)  # info() counts as a use.
    await subject.store.info("a")
    subject.clock.move(100)
    subject.free()
    with pytest.raises(ChannelNotFound):
        await subject.store.info("a")


async def test_channel_timeout_zero_removes_no_channel(make: MakeSubject) -> None:
    """With channel_timeout 0 no channel is removed."""
    subject = make(channel_timeout=0)
    await subject.store.create("a")
    subject.clock.move(10**6)
    subject.free()
    await subject.store.info("a")


@limited
async def test_removed_channels_do_not_count_for_max_channels(
    make: MakeSubject,
) -> None:
    """Removed channels do not count for max_channels."""
    subject = make(channel_timeout=100, max_channels=1)
    await subject.store.create("a")
    subject.clock.move(100)
    subject.free()
    await subject.store.create("b")


async def test_store_may_be_closed_twice(make: MakeSubject) -> None:
    """A store may be closed twice, and without having been used."""
    subject = make()
    subject.store.close()
    subject = make(channel_timeout=100)
    await subject.store.create("a")
    subject.store.close()
    subject.store.close()
