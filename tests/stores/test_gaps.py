"""A client gets the next message after its id, or a gap; on each kind of store."""

from __future__ import annotations

import pytest

from pushserver.conf import MemoryStoreSettings
from pushserver.publishers import Update
from pushserver_channels.exceptions import ChannelNotFound
from pushserver_channels.messages import START, Message, MessageId
from pushserver_channels.stores.memory import STARTED, MemoryStore

from .conftest import Clock, MakeSubject, Subject


async def publish(subject: Subject, many: int = 2) -> list[Message]:
    """Publish messages on the channel ``a``."""
    return [await subject.append("a", b"%d" % number) for number in range(many)]


async def next_after(subject: Subject, after: MessageId) -> Message:
    """Return the next message of the channel ``a``, which must exist."""
    message = await subject.store.next("a", after)
    assert message is not None
    return message


async def test_no_gap_with_all_messages(make: MakeSubject) -> None:
    """A client that has all messages gets no gap."""
    subject = make()
    messages = await publish(subject, 5)
    for before in messages[:-1]:
        assert (await next_after(subject, before.id)).gap_after(before.id) is None
    assert messages[0].gap_after(START) is None


@pytest.mark.parametrize("away", [50, 7200, 10**6])
async def test_gap_by_an_expired_message(make: MakeSubject, away: int) -> None:
    """A client that missed an expired message gets a gap, even if the channel ended."""
    subject = make(message_timeout=10, channel_timeout=3600)
    seen, missed = await publish(subject)
    subject.clock.move(away)
    subject.free()
    await subject.append("a")
    message = await next_after(subject, seen.id)
    gap = message.gap_after(seen.id)
    assert gap is not None
    assert missed.id <= gap < message.id
    assert message.gap_after(START) is None


async def test_gap_after_a_removed_channel_was_created_again(make: MakeSubject) -> None:
    """This also holds if a subscriber has created the channel again meanwhile."""
    subject = make(message_timeout=10, channel_timeout=100)
    seen, missed = await publish(subject)
    for _ in range(3):
        subject.clock.move(200)
        subject.free()
        assert await subject.store.next("a", seen.id) is None
    (message,) = await publish(subject, 1)
    gap = message.gap_after(seen.id)
    assert gap is not None
    assert gap >= missed.id


@pytest.mark.parametrize(("times", "seconds"), [(3, 0), (1, 100), (2, -100)])
async def test_gap_by_a_deleted_channel(
    make: MakeSubject, times: int, seconds: int
) -> None:
    """A client that missed messages of a deleted channel gets a gap."""
    subject = make()
    for _ in range(times):
        seen, missed = await publish(subject)
        await subject.store.delete("a")
        subject.clock.move(seconds)
    await subject.store.create("a")
    (message,) = await publish(subject, 1)
    assert message.id > missed.id
    gap = message.gap_after(seen.id)
    assert gap is not None
    assert missed.id <= gap < message.id
    assert message.gap_after(START) is None


async def test_no_gap_for_a_subscriber_during_a_deletion(make: MakeSubject) -> None:
    """A client that had all messages before a deletion gets no gap."""
    subject = make()
    _, last = await publish(subject)
    await subject.store.delete("a")
    (message,) = await publish(subject, 1)
    assert message.gap_after(last.id) is None


async def test_gaps_of_many_removed_channels(make: MakeSubject) -> None:
    """All removed channels report gaps, however many there are."""
    subject = make(message_timeout=10, channel_timeout=100)
    channels = [f"channel {number}" for number in range(50)]
    seen, missed = {}, {}
    for channel_id in channels:
        seen[channel_id] = await subject.append(channel_id)
        missed[channel_id] = await subject.append(channel_id)
        subject.clock.move(1)
    subject.clock.move(200)
    subject.free()
    for channel_id in channels:
        with pytest.raises(ChannelNotFound):
            await subject.store.info(channel_id)
    for channel_id in channels:
        message = await subject.append(channel_id)
        gap = message.gap_after(seen[channel_id].id)
        assert gap is not None
        assert gap >= missed[channel_id].id


async def test_gap_by_an_unstored_message(make: MakeSubject) -> None:
    """A client that missed a message that was not kept gets a gap."""
    subject = make()
    (seen,) = await publish(subject, 1)
    unkept = (await subject.store.append(Update("a", b"now"), keep=False)).message
    (message,) = await publish(subject, 1)
    assert message.gap_after(seen.id) == unkept.id
    assert message.gap_after(unkept.id) is None


@pytest.mark.parametrize("tag", [0, 7])
@pytest.mark.parametrize("passes", [False, True])
async def test_gap_by_a_clock_that_was_ahead(
    make: MakeSubject, passes: bool, tag: int
) -> None:
    """A client with an id from the future gets a gap for messages that it skips.

    This also holds if the clock passes that id before the next message.
    """
    subject = make()
    await publish(subject, 1)
    ahead = MessageId(int(subject.clock.now) + 3600, tag)
    (skipped,) = await publish(subject, 1)
    subject.wait("a")
    assert await subject.store.next("a", ahead) is None
    if passes:
        subject.clock.move(3700)
    (message,) = await publish(subject, 1)
    assert (message.id > ahead) == passes
    assert message.gap_after(ahead) == skipped.id
    assert subject.audience.delivered[-1] == ("a", message)
    subject.leave("a")


async def test_gap_by_a_restart() -> None:
    """After a restart, a memory store reports a gap for ids from before."""
    subject = Subject(MemoryStore(MemoryStoreSettings(type="memory")), Clock())
    (first,) = await publish(subject, 1)
    for seen in (
        STARTED._replace(time=STARTED.time - 1, tag=0),
        STARTED._replace(tag=STARTED.tag - 1),
        STARTED._replace(time=STARTED.time + 3600, tag=0),
        STARTED._replace(time=STARTED.time + 3600, tag=7),
    ):
        assert first.gap_after(seen) is not None
    assert first.gap_after(START) is None
    subject.store.close()


async def test_no_gap_for_a_date_without_a_tag(make: MakeSubject) -> None:
    """A client with a time as its id gets no gap for messages published later."""
    subject = make()
    await publish(subject, 1)
    subject.clock.move(10)
    date = MessageId(int(subject.clock.now) - 1, -1)
    (message,) = await publish(subject, 1)
    assert message.gap_after(date) is None
