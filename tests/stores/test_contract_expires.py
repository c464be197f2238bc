"""Messages with a time limit of their own; on each kind of store."""

from __future__ import annotations

import pytest

from pushserver.publishers import Update
from pushserver_channels.exceptions import ChannelNotFound
from pushserver_channels.messages import START, Message

from .conftest import MakeSubject, Subject
from .contract import kept


async def append(
    subject: Subject, body: bytes, expires: float | None = None, channel_id: str = "a"
) -> Message:
    """Append a message with a time limit of its own, in seconds."""
    update = Update(channel_id, body, expires=expires)
    return (await subject.store.append(update)).message


LIMITS = pytest.mark.parametrize(
    "limits",
    [
        {},
        {"message_timeout": 3600},
        {"message_timeout": 1, "min_messages": 100},
        {"max_messages": 50},
    ],
    ids=str,
)


@LIMITS
async def test_message_is_gone_at_its_end(
    make: MakeSubject, limits: dict[str, float]
) -> None:
    """A message is delivered until the second in which it expires, and not later."""
    subject = make(**limits)
    message = await append(subject, b"short", 5)
    assert message.expires == 5
    await append(subject, b"long", 50)
    await append(subject, b"endless")
    subject.clock.now = message.id.time + 5.9
    assert await kept(subject) == [b"short", b"long", b"endless"]
    subject.clock.now = message.id.time + 6
    assert await kept(subject) == [b"long", b"endless"]
    assert (await subject.store.info("a")).messages == 2
    assert len(await subject.store.page("a", START, 10)) == 2
    subject.clock.now = message.id.time + 51
    assert await kept(subject) == [b"endless"]


@pytest.mark.parametrize("order", [(30, 20, 10), (10, 20, 30), (20, 30, 10)])
async def test_ends_in_any_order(make: MakeSubject, order: tuple[int, ...]) -> None:
    """Messages end at their own times, in whatever order they were published."""
    subject = make()
    first = [await append(subject, b"%d" % each, each) for each in order][0]
    left = list(order)
    for end in (10, 20, 30):
        subject.clock.now = first.id.time + end + 1
        subject.free()
        left.remove(end)
        assert await kept(subject) == [b"%d" % each for each in left]
        assert (await subject.store.info("a")).messages == len(left)


async def test_client_that_missed_an_expired_message_gets_a_gap(
    make: MakeSubject,
) -> None:
    """A client that was away while a message expired is told of it."""
    subject = make()
    seen = await append(subject, b"seen")
    missed = await append(subject, b"missed", 5)
    subject.clock.move(7)
    assert await subject.store.next("a", seen.id) is None
    await append(subject, b"next")
    message = await subject.store.next("a", seen.id)
    assert message is not None
    assert message.body == b"next"
    assert message.gap_after(seen.id) == missed.id
    assert message.gap_after(missed.id) is None


async def test_store_limit_is_not_extended(make: MakeSubject) -> None:
    """A time limit that is longer than message_timeout changes nothing."""
    subject = make(message_timeout=10)
    message = await append(subject, b"news", 100)
    subject.clock.now = message.id.time + 10
    assert await kept(subject) == [b"news"]
    subject.clock.now = message.id.time + 11
    assert await kept(subject) == []


async def test_ids_increase_after_all_messages_have_expired(make: MakeSubject) -> None:
    """The ids of a channel increase although its last messages have expired."""
    subject = make()
    before = await append(subject, b"1", 1)
    subject.clock.move(3)
    assert await kept(subject) == []
    assert (await subject.store.info("a")).last_message_id == before.id
    subject.clock.move(-3)
    after = await append(subject, b"2", 1)
    assert after.id > before.id
    assert after.previous == before.id


async def test_position_counts_kept_messages(make: MakeSubject) -> None:
    """The position of the newest messages counts only those that are still kept."""
    subject = make()
    for number in range(3):
        await append(subject, b"%d" % number)
        await append(subject, b"short", 2)
    subject.clock.move(4)
    after = await subject.store.position("a", 2)
    page = await subject.store.page("a", after, 10)
    assert [each.body for each in page] == [b"1", b"2"]


async def test_message_that_is_not_kept_has_no_end(make: MakeSubject) -> None:
    """A time limit of a message that is not kept does not matter."""
    subject = make()
    await subject.store.append(Update("a", b"now", expires=5), keep=False)
    await append(subject, b"kept")
    subject.clock.move(10)
    assert await kept(subject) == [b"kept"]


async def test_channel_ends_after_its_last_message_has_expired(
    make: MakeSubject,
) -> None:
    """A channel whose messages have all expired is removed after channel_timeout."""
    subject = make(channel_timeout=100)
    await append(subject, b"news", 300)
    subject.clock.move(200)
    subject.free()
    await subject.store.info("a")
    subject.clock.move(301)
    subject.free()
    with pytest.raises(ChannelNotFound):
        await subject.store.info("a")


async def test_deleted_channel_forgets_the_ends(make: MakeSubject) -> None:
    """The time limits of a deleted channel do not concern the next one."""
    subject = make()
    await append(subject, b"old", 5)
    await subject.store.delete("a")
    await append(subject, b"new")
    subject.clock.move(10)
    assert await kept(subject) == [b"new"]


@pytest.mark.left_to_all("many messages that expire")
async def test_many_messages_expire_at_once(make: MakeSubject) -> None:
    """Thousands of messages that end in the same second are gone together."""
    subject = make()
    for number in range(2500):
        await append(subject, b"%d" % number, 5)
    await append(subject, b"last")
    subject.clock.move(10)
    assert await kept(subject) == [b"last"]
