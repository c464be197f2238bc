"""The order of messages and their content; on each kind of store."""

from __future__ import annotations

import pytest

from pushserver.publishers import Update
from pushserver_channels.exceptions import ChannelNotFound
from pushserver_channels.messages import START, MessageId

from .conftest import MakeSubject
from .contract import FUTURE, counting


async def test_next_is_not_the_newest_message(make: MakeSubject) -> None:
    """next() returns the message after an id, not the newest one."""
    subject = make()
    messages = [await subject.append("a", b"%d" % number) for number in range(5)]
    for one, following in zip(messages, messages[1:], strict=False):
        assert await subject.store.next("a", one.id) == following
    assert await subject.store.next("a", messages[-1].id) is None


@pytest.mark.parametrize("make", ["memory"], indirect=True)
async def test_memory_store_knows_at_once_that_nothing_follows(
    make: MakeSubject,
) -> None:
    """The memory store knows at once that nothing follows a channel's last id.

    This counts as a subscriber's request, but creates no channel.
    """
    subject = make()
    assert not subject.store.has_nothing("a", FUTURE)
    with pytest.raises(ChannelNotFound):
        await subject.store.info("a")
    message = await subject.append("a", b"news")
    assert not subject.store.has_nothing("a", START)
    assert (await subject.store.info("a")).requested == -1
    assert subject.store.has_nothing("a", message.id)
    assert subject.store.has_nothing("a", FUTURE)
    assert (await subject.store.info("a")).requested == 0


async def test_start_is_before_the_oldest_message(make: MakeSubject) -> None:
    """The start is before the oldest message."""
    subject = make()
    oldest = await subject.append("a")
    await subject.append("a")
    for after in (START, MessageId(0, 0), MessageId(0, -1), MessageId(1, 10**18)):
        assert await subject.store.next("a", after) == oldest


@counting
async def test_id_without_a_message_has_its_place(make: MakeSubject) -> None:
    """An id without a message has its place in the order."""
    subject = make()
    first = await subject.append("a")
    subject.clock.move(10)
    second = await subject.append("a")
    for after in (
        MessageId(first.id.time, 5),
        MessageId(first.id.time + 3, -1),
        MessageId(first.id.time + 3, 10**18),
        MessageId(second.id.time, -1),
    ):
        assert await subject.store.next("a", after) == second
    assert await subject.store.next("a", MessageId(first.id.time, -1)) == first


@counting
@pytest.mark.parametrize("tag", [-1, 0, 10**18 - 1])
async def test_no_message_after_a_future_id(make: MakeSubject, tag: int) -> None:
    """After an id of the future there is no message yet."""
    subject = make()
    newest = await subject.append("a")
    assert await subject.store.next("a", MessageId(2**40, tag)) is None
    assert await subject.store.next("a", MessageId(newest.id.time, 1)) is None


async def test_page_is_in_order_and_limited(make: MakeSubject) -> None:
    """A page has the oldest messages after an id, in order, up to the limit."""
    subject = make()
    messages = [await subject.append("a", b"%d" % number) for number in range(5)]
    page = subject.store.page
    assert await page("a", START, 3) == messages[:3]
    assert await page("a", messages[2].id, 3) == messages[3:]
    assert await page("a", messages[4].id, 3) == []
    assert await page("nobody was here", START, 3) == []


FULL = Update(
    *("a", b"\x1f\x8b", b"text/html", b"gzip;x=\xff", "story: 1\u20ac"),
    expires=2.5,
    exclude="k3v-_Z",
)


@pytest.mark.parametrize(
    "update",
    [
        FULL,
        FULL._replace(content_encoding=None),
        FULL._replace(event=None),
        FULL._replace(expires=None),
        FULL._replace(exclude=None),
        Update("a", b"", None, b"br"),
    ],
)
@pytest.mark.parametrize("waits", [True, False])
async def test_optional_fields(make: MakeSubject, update: Update, waits: bool) -> None:
    """All fields of a message are kept, for current and for later subscribers."""
    subject = make()
    if waits:
        subject.wait("a")
        assert await subject.store.next("a", START) is None
    message = (await subject.store.append(update)).message
    fields = (message.content_type, message.content_encoding, message.event)
    limits = (message.expires, message.exclude)
    assert (message.body, *fields, *limits) == update[1:]
    assert await subject.store.next("a", START) == message
    if waits:
        assert subject.audience.delivered == [("a", message)]
        subject.leave("a")


async def test_next_creates_a_channel(make: MakeSubject) -> None:
    """next() creates a channel if it is allowed to, and fails otherwise."""
    subject = make()
    with pytest.raises(ChannelNotFound):
        await subject.store.next("a", START, create=False)
    with pytest.raises(ChannelNotFound):
        await subject.store.info("a")
    assert await subject.store.next("a", START) is None
    assert await subject.store.next("a", START, create=False) is None
    assert (await subject.store.info("a")).messages == 0


async def test_previous_ids(make: MakeSubject) -> None:
    """Each message has the id of the previous one."""
    subject = make(max_messages=2)
    messages = [await subject.append("a") for _ in range(5)]
    assert [each.previous for each in messages[1:]] == [
        each.id for each in messages[:-1]
    ]
    before = messages[0].previous
    assert before is None or before < messages[0].id
    oldest = await subject.store.next("a", START)
    assert oldest is not None
    assert oldest.previous == messages[2].id
