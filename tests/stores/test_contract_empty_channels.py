"""Channels that only requests of subscribers created; on each kind of store."""

from __future__ import annotations

import pytest

from pushserver.publishers import Update
from pushserver_channels.exceptions import (
    ChannelNotFound,
    TooManyChannels,
    TooManyEmptyChannels,
)
from pushserver_channels.messages import START, MessageId
from pushserver_channels.stores.empty import EMPTY_TIMEOUT

from .conftest import MakeSubject, Subject
from .contract import kept, limited

EPOCH = MessageId(0, 0)


async def exists(subject: Subject, channel_id: str) -> bool:
    """Return whether a subscriber that creates no channel finds one."""
    try:
        await subject.store.next(channel_id, START, create=False)
    except ChannelNotFound:
        return False
    return True


async def hold(subject: Subject, channel_id: str) -> None:
    """Let a subscriber wait on a channel without a message."""
    subject.wait(channel_id)
    assert await subject.store.next(channel_id, START) is None


async def test_requested_channel_exists(make: MakeSubject) -> None:
    """A request creates a channel that publishers find, describe and delete."""
    subject = make()
    assert await subject.store.next("a", START) is None
    subject.clock.move(3)
    info = await subject.store.info("a")
    assert info == (0, 3, EPOCH, 0)
    assert await exists(subject, "a")
    assert (await subject.store.delete("a")).requested == 0
    with pytest.raises(ChannelNotFound):
        await subject.store.delete("a")
    assert not await exists(subject, "a")


@pytest.mark.parametrize("ask", ["next", "page", "position"])
async def test_requested_channel_is_published_on(make: MakeSubject, ask: str) -> None:
    """A publisher that may not create channels can publish on it."""
    subject = make()
    if ask == "next":
        await subject.store.next("a", START)
    elif ask == "page":
        await subject.store.page("a", START, 10)
    else:
        await subject.store.position("a", 0)
    subject.clock.move(3)
    appended = await subject.store.append(Update("a", b"news"), create=False)
    assert appended.info.requested == 3
    assert (await subject.store.info("a")).requested == 3
    assert await kept(subject) == [b"news"]


async def test_subscriber_of_a_requested_channel_gets_messages(
    make: MakeSubject,
) -> None:
    """A subscriber waiting there gets the first message, without a gap."""
    subject = make()
    await hold(subject, "a")
    appended = await subject.store.append(Update("a", b"news"), create=False)
    assert appended.delivered
    assert subject.audience.delivered == [("a", appended.message)]
    assert appended.message.gap_after(EPOCH) is None


async def test_created_channel_is_no_requested_one(make: MakeSubject) -> None:
    """A channel that a publisher creates has the ordinary timeout from then on."""
    subject = make()
    await subject.store.next("a", START)
    subject.clock.move(2)
    assert (await subject.store.create("a")).requested == 2
    subject.clock.move(EMPTY_TIMEOUT)
    subject.free()
    assert await exists(subject, "a")


async def test_requested_channel_with_a_message_is_no_longer_one(
    make: MakeSubject,
) -> None:
    """A channel on which somebody has published has the ordinary timeout."""
    subject = make(message_timeout=1)
    await subject.store.next("a", START)
    await subject.append("a")
    subject.clock.move(EMPTY_TIMEOUT + 1)
    subject.free()
    info = await subject.store.info("a")
    assert (info.messages, info.requested) == (0, EMPTY_TIMEOUT + 1)


@pytest.mark.parametrize("channel_timeout", [3600, 0, 10])
async def test_requested_channel_ends(make: MakeSubject, channel_timeout: int) -> None:
    """It ends a minute after its last request, or after channel_timeout."""
    subject = make(channel_timeout=channel_timeout)
    timeout = min(channel_timeout or EMPTY_TIMEOUT, EMPTY_TIMEOUT)
    await subject.store.next("a", START)
    for step in (1, timeout - 1):
        subject.clock.move(step)
        subject.free()
        assert await exists(subject, "a")
    subject.clock.move(timeout)
    subject.free()
    assert not await exists(subject, "a")


async def test_requested_channel_with_subscribers_does_not_end(
    make: MakeSubject,
) -> None:
    """It exists while subscribers wait, and for a minute after they have left."""
    subject = make()
    await hold(subject, "a")
    subject.clock.move(10 * EMPTY_TIMEOUT)
    subject.free()
    assert (await subject.store.info("a")).requested == 10 * EMPTY_TIMEOUT
    subject.clock.move(EMPTY_TIMEOUT)
    subject.leave("a")
    subject.clock.move(EMPTY_TIMEOUT - 1)
    subject.free()
    assert await exists(subject, "a")
    subject.clock.move(EMPTY_TIMEOUT)
    subject.free()
    assert not await exists(subject, "a")


@pytest.mark.parametrize("seen", [START, EPOCH])
@pytest.mark.parametrize("back_before", [False, True])
async def test_client_of_a_requested_channel_that_ended_misses_nothing(
    make: MakeSubject, seen: MessageId, back_before: bool
) -> None:
    """A client that comes back gets what was published meanwhile or is afterwards."""
    subject = make()
    await hold(subject, "a")
    subject.leave("a")
    subject.clock.move(EMPTY_TIMEOUT)
    subject.free()
    if back_before:
        assert await subject.store.next("a", seen) is None
    message = await subject.append("a", b"news")
    assert await subject.store.next("a", seen) == message
    assert message.gap_after(seen) is None


async def test_no_gap_on_a_requested_channel_after_a_deletion(
    make: MakeSubject,
) -> None:
    """A client that had all messages before a deletion hears of no gap."""
    subject = make()
    last = await subject.append("a")
    await subject.store.delete("a")
    assert await subject.store.next("a", last.id) is None
    assert (await subject.append("a")).gap_after(last.id) is None


async def test_longest_idle_requested_channel_is_removed(make: MakeSubject) -> None:
    """Beyond max_empty_channels the channel is removed that is idle for longest."""
    subject = make(max_empty_channels=3)
    for channel_id in ("a", "b", "c"):
        await subject.store.next(channel_id, START)
    await subject.store.next("a", START)
    await subject.store.next("d", START)
    found = [each for each in "abcd" if await exists(subject, each)]
    assert found == ["a", "c", "d"]


async def test_awaited_requested_channel_is_not_removed(make: MakeSubject) -> None:
    """A channel with subscribers is not removed; if all have them, others get 503."""
    subject = make(max_empty_channels=2)
    await hold(subject, "a")
    await subject.store.next("b", START)
    await subject.store.next("c", START)
    assert not await exists(subject, "b")
    await hold(subject, "c")
    for asking in (
        subject.store.next("d", START),
        subject.store.page("d", START, 10),
        subject.store.position("d", 0),
    ):
        with pytest.raises(TooManyEmptyChannels, match="2 channels"):
            await asking
    # Publishing is never refused for their sake.
    await subject.append("a")
    await subject.append("e")
    await subject.store.create("f")
    await hold(subject, "d")
    subject.leave("c")
    await subject.store.next("g", START)
    assert not await exists(subject, "c")


async def test_requested_channels_are_without_limit(make: MakeSubject) -> None:
    """With max_empty_channels 0 none is removed."""
    subject = make(max_empty_channels=0)
    for number in range(20):
        await subject.store.next(f"channel {number}", START)
    for number in range(20):
        assert await exists(subject, f"channel {number}")


@limited
async def test_requested_channels_do_not_count_for_max_channels(
    make: MakeSubject,
) -> None:
    """Channels that were only requested refuse no publisher."""
    subject = make(max_channels=1)
    for channel_id in ("a", "b", "c"):
        await subject.store.next(channel_id, START)
    await subject.append("d")
    with pytest.raises(TooManyChannels):
        await subject.append("a")


@limited
async def test_message_that_is_waited_for_is_accepted(make: MakeSubject) -> None:
    """max_channels refuses no message on a channel with subscribers."""
    subject = make(max_channels=1)
    await hold(subject, "a")
    await subject.append("b")
    assert (await subject.store.append(Update("a", b"news"))).delivered
