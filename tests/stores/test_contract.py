"""What every store keeps to; each test runs on each kind of store."""

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
from pushserver_channels.exceptions import ChannelNotFound, TooManyChannels
from pushserver_channels.messages import START, Message, MessageId
from pushserver_channels.stores import Store, memory
from pushserver_channels.stores.memory import MemoryStore

from .conftest import LIMITED, START_OF_CLOCK, Clock, MakeSubject, Subject

FUTURE = MessageId(2**40, 0)

#: Tags count from 0 in each second; over a channel layer, nobody counts for all.
counting = pytest.mark.parametrize("make", ["memory", "redis"], indirect=True)

#: Of stores that can limit the number of channels.
limited = pytest.mark.parametrize("make", LIMITED, indirect=True)


async def kept(subject: Subject, channel_id: str = "a") -> list[bytes]:
    """Return the bodies that a reader gets, one after the other."""
    bodies, after = [], START
    while (message := await subject.store.next(channel_id, after)) is not None:
        assert message.id > after
        bodies.append(message.body)
        after = message.id
    return bodies


# Ids


@counting
async def test_an_id_is_the_second_and_a_count(make: MakeSubject) -> None:
    """An id is the second in which it was given, and a tag that counts inside it."""
    subject = make()
    now = int(START_OF_CLOCK)
    ids = [(await subject.append("a")).id for _ in range(3)]
    subject.clock.move(1)
    ids.append((await subject.append("a")).id)
    assert ids == [(now, 0), (now, 1), (now, 2), (now + 1, 0)]


@counting
async def test_each_channel_counts_for_itself(make: MakeSubject) -> None:
    """Tags count in each channel for itself."""
    subject = make()
    assert (await subject.append("a")).id.tag == 0
    assert (await subject.append("b")).id.tag == 0
    assert (await subject.append("a")).id.tag == 1


@counting
@pytest.mark.parametrize("step", [-0.5, -1, -3600, -START_OF_CLOCK])
async def test_the_clock_steps_back(make: MakeSubject, step: float) -> None:
    """When the clock steps back the last time is kept and the tag counts on."""
    subject = make()
    before = await subject.append("a")
    subject.clock.move(step)
    after = [(await subject.append("a")).id for _ in range(2)]
    assert after == [(before.id.time, 1), (before.id.time, 2)]


@counting
async def test_the_clock_steps_back_and_comes_forward(make: MakeSubject) -> None:
    """When the clock has caught up again, its time is taken again."""
    subject = make()
    ids = []
    for step in (0, -10, 5, 4, 0.75, 1, 1):
        subject.clock.move(step)
        ids.append((await subject.append("a")).id)
    assert ids == sorted(set(ids))
    assert ids[-1] == (int(subject.clock.now), 0)


async def test_deleted_and_made_again(make: MakeSubject) -> None:
    """Ids go on after a channel was deleted and made again within one second."""
    subject = make()
    ids = []
    for _ in range(5):
        ids += [(await subject.append("a")).id for _ in range(2)]
        await subject.store.delete("a")
    assert ids == sorted(set(ids))


async def test_deleted_twice_without_a_message(make: MakeSubject) -> None:
    """Ids go on too over a channel that was made and deleted without a message."""
    subject = make()
    before = await subject.append("a")
    for _ in range(3):
        await subject.store.delete("a")
        await subject.store.create("a")
    assert (await subject.append("a")).id > before.id


@pytest.mark.parametrize("step", [-0.5, -1, -3600])
async def test_deleted_and_the_clock_steps_back(make: MakeSubject, step: float) -> None:
    """Ids go on when the clock steps back while there is no such channel."""
    subject = make()
    ids = [(await subject.append("a")).id for _ in range(3)]
    await subject.store.delete("a")
    subject.clock.move(step)
    ids.append((await subject.append("a")).id)
    assert ids == sorted(set(ids))


async def test_forgotten_and_the_clock_steps_back(make: MakeSubject) -> None:
    """Ids go on when the clock steps back after a channel was forgotten."""
    subject = make(message_timeout=10, channel_timeout=100)
    before = [(await subject.append("a")).id for _ in range(3)]
    subject.clock.move(200)
    subject.free()
    with pytest.raises(ChannelNotFound):
        await subject.store.info("a")
    subject.clock.move(-200)
    assert (await subject.append("a")).id > before[-1]


async def test_the_last_id_outlives_its_message(make: MakeSubject) -> None:
    """Ids go on after the messages have expired."""
    subject = make(message_timeout=1)
    before = await subject.append("a")
    subject.clock.move(5)
    assert await kept(subject) == []
    subject.clock.move(-5)
    info = await subject.store.info("a")
    assert info.last_message_id == before.id
    after = await subject.append("a")
    assert after.id > before.id
    assert after.previous == before.id


async def test_an_unkept_message_has_an_id(make: MakeSubject) -> None:
    """A message that is not kept has an id like any other."""
    subject = make()
    first = await subject.append("a")
    unkept = (await subject.store.append(Update("a", b""), keep=False)).message
    last = await subject.append("a")
    assert first.id < unkept.id < last.id
    assert (unkept.previous, last.previous) == (first.id, unkept.id)


# Which message is next


async def test_next_is_not_last(make: MakeSubject) -> None:
    """Asked for what follows a message, the store returns the next, not the newest."""
    subject = make()
    messages = [await subject.append("a", b"%d" % number) for number in range(5)]
    for one, following in zip(messages, messages[1:], strict=False):
        assert await subject.store.next("a", one.id) == following
    assert await subject.store.next("a", messages[-1].id) is None


@pytest.mark.parametrize("make", ["memory"], indirect=True)
async def test_nothing_is_known_at_once(make: MakeSubject) -> None:
    """The memory store knows at once that there is nothing after a channel's last id.

    It is a subscriber's request, and it makes no channel.
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


async def test_the_start(make: MakeSubject) -> None:
    """Before every message is the oldest one."""
    subject = make()
    oldest = await subject.append("a")
    await subject.append("a")
    for after in (START, MessageId(0, 0), MessageId(0, -1), MessageId(1, 10**18)):
        assert await subject.store.next("a", after) == oldest


@counting
async def test_ids_between(make: MakeSubject) -> None:
    """An id that no message has stands in its place in the order."""
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
async def test_ids_of_the_future(make: MakeSubject, tag: int) -> None:
    """After an id of the future there is no message yet."""
    subject = make()
    newest = await subject.append("a")
    assert await subject.store.next("a", MessageId(2**40, tag)) is None
    assert await subject.store.next("a", MessageId(newest.id.time, 1)) is None


async def test_a_page(make: MakeSubject) -> None:
    """A page has the oldest messages after an id, in order, and no more than asked."""
    subject = make()
    messages = [await subject.append("a", b"%d" % number) for number in range(5)]
    page = subject.store.page
    assert await page("a", START, 3) == messages[:3]
    assert await page("a", messages[2].id, 3) == messages[3:]
    assert await page("a", messages[4].id, 3) == []
    assert await page("nobody was here", START, 3) == []


FULL = Update("a", b"\x1f\x8b", b"text/html", b"gzip;x=\xff", "story: 1\u20ac", 2.5)


@pytest.mark.parametrize(
    "update",
    [
        FULL,
        FULL._replace(content_encoding=None),
        FULL._replace(event=None),
        FULL._replace(expires=None),
        Update("a", b"", None, b"br"),
    ],
)
@pytest.mark.parametrize("waits", [True, False])
async def test_optional_fields(make: MakeSubject, update: Update, waits: bool) -> None:
    """All fields of a message come back, to who waits and to who asks later."""
    subject = make()
    if waits:
        subject.wait("a")
        assert await subject.store.next("a", START) is None
    message = (await subject.store.append(update)).message
    fields = (message.content_type, message.content_encoding, message.event)
    assert (message.body, *fields, message.expires) == update[1:]
    assert await subject.store.next("a", START) == message
    if waits:
        assert subject.audience.delivered == [("a", message)]
        subject.leave("a")


async def test_next_makes_a_channel(make: MakeSubject) -> None:
    """Asking makes a channel if it may, and says so if it may not."""
    subject = make()
    with pytest.raises(ChannelNotFound):
        await subject.store.next("a", START, create=False)
    with pytest.raises(ChannelNotFound):
        await subject.store.info("a")
    assert await subject.store.next("a", START) is None
    assert await subject.store.next("a", START, create=False) is None
    assert (await subject.store.info("a")).messages == 0


async def test_previous_ids(make: MakeSubject) -> None:
    """Each message knows the id of the one before it."""
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


# What is kept


@pytest.mark.parametrize(
    "body",
    [b"", b"\x00", bytes(range(256)), b"\r\n", "\U0001f600".encode(), b"x" * 1_000_000],
)
@pytest.mark.parametrize(
    "content_type", [None, b"text/plain", b"\xff\xfe", b"x" * 8000]
)
async def test_any_message(
    make: MakeSubject, body: bytes, content_type: bytes | None
) -> None:
    """A message is kept byte for byte, with its type or without one."""
    subject = make()
    appended = await subject.store.append(Update("a", body, content_type))
    found = await subject.store.next("a", START)
    assert found == appended.message
    assert found is not None
    assert (found.body, found.content_type) == (body, content_type)


@pytest.mark.parametrize(
    "channel_id",
    [
        "a",
        " ",
        "a/b",
        "a:b",
        "*",
        "{a}",
        "%2F",
        "..",
        "\x00",
        "a\nb",
        "\u20ac\U0001f600",
        "\u0301",
        "x" * 512,
        "\U0001f600" * 512,
    ],
)
async def test_any_channel_id(make: MakeSubject, channel_id: str) -> None:
    """A channel id may be any text, and names one channel."""
    subject = make()
    message = await subject.append(channel_id)
    assert await subject.store.next(channel_id, START) == message
    assert (await subject.store.info(channel_id)).messages == 1
    for other in (channel_id + "x", channel_id[:-1] + "y", channel_id.swapcase() + " "):
        with pytest.raises(ChannelNotFound):
            await subject.store.info(other)
    await subject.store.delete(channel_id)
    with pytest.raises(ChannelNotFound):
        await subject.store.info(channel_id)


async def test_max_messages(make: MakeSubject) -> None:
    """At most max_messages are kept, the newest ones."""
    subject = make(max_messages=3)
    for number in range(5):
        info = (await subject.store.append(Update("a", b"%d" % number))).info
        assert info.messages == min(number + 1, 3)
    assert await kept(subject) == [b"2", b"3", b"4"]


async def test_no_limit(make: MakeSubject) -> None:
    """Without limits, all messages are kept for ever."""
    subject = make()
    for number in range(300):
        await subject.append("a", b"%d" % number)
    subject.clock.move(10**9)
    subject.free()
    assert await kept(subject) == [b"%d" % number for number in range(300)]


@pytest.mark.parametrize("timeout", [1, 10])
@pytest.mark.parametrize("ask", ["asking", "freeing"])
async def test_message_timeout(make: MakeSubject, timeout: int, ask: str) -> None:
    """A message is delivered while floor(now) <= time + message_timeout, not longer."""
    subject = make(message_timeout=timeout)
    message = await subject.append("a", b"news")
    # The last moment of the last second, in which the clock shows time + timeout.
    subject.clock.now = message.id.time + timeout + 0.999
    if ask == "freeing":
        subject.free()
    assert await kept(subject) == [b"news"]
    subject.clock.now = message.id.time + timeout + 1
    if ask == "freeing":
        subject.free()
    assert await kept(subject) == []
    assert (await subject.store.info("a")).messages == 0


async def test_a_timeout_of_parts_of_a_second(make: MakeSubject) -> None:
    """A timeout may be a part of a second; seconds of ids are whole all the same."""
    subject = make(message_timeout=0.5)
    message = await subject.append("a", b"news")
    subject.clock.now = message.id.time + 0.999
    assert await kept(subject) == [b"news"]
    subject.clock.now = message.id.time + 1
    assert await kept(subject) == []


async def test_each_message_expires_for_itself(make: MakeSubject) -> None:
    """Messages expire one by one."""
    subject = make(message_timeout=10)
    for number in range(4):
        await subject.append("a", b"%d" % number)
        subject.clock.move(2)
    counts = []
    for _ in range(8):
        counts.append((await subject.store.info("a")).messages)
        subject.clock.move(1)
    assert counts == [4, 4, 4, 3, 3, 2, 2, 1]
    assert await kept(subject) == [b"3"]
    subject.clock.move(1)
    assert await kept(subject) == []


async def test_min_messages(make: MakeSubject) -> None:
    """The newest min_messages are kept whatever their age."""
    subject = make(min_messages=2, message_timeout=10)
    for number in range(4):
        await subject.append("a", b"%d" % number)
    subject.clock.move(1000)
    subject.free()
    assert await kept(subject) == [b"2", b"3"]
    await subject.append("a", b"4")
    assert await kept(subject) == [b"3", b"4"]
    subject.clock.move(1)
    await subject.append("a", b"5")
    await subject.append("a", b"6")
    assert await kept(subject) == [b"4", b"5", b"6"]


async def test_fewer_than_min_messages(make: MakeSubject) -> None:
    """Less than min_messages never expire."""
    subject = make(min_messages=2, message_timeout=10, channel_timeout=20)
    await subject.append("a", b"1")
    subject.clock.move(10**6)
    subject.free()
    assert await kept(subject) == [b"1"]


async def test_min_and_max_messages(make: MakeSubject) -> None:
    """Between min_messages and max_messages the timeout decides."""
    subject = make(min_messages=1, max_messages=3, message_timeout=10)
    for number in range(5):
        await subject.append("a", b"%d" % number)
    assert await kept(subject) == [b"2", b"3", b"4"]
    subject.clock.move(20)
    assert await kept(subject) == [b"4"]


async def test_messages_that_are_not_kept(make: MakeSubject) -> None:
    """A message that is not kept is handed to who waits, and nobody finds it later."""
    subject = make(max_messages=2)
    await subject.append("a", b"1")
    await subject.append("a", b"2")
    subject.wait("a")
    appended = await subject.store.append(Update("a", b"3", b"x/y"), keep=False)
    assert appended.delivered
    assert subject.audience.delivered[-1] == ("a", appended.message)
    assert appended.info.messages == 2
    assert appended.info.last_message_id == appended.message.id
    assert await kept(subject) == [b"1", b"2"]


# Channels


async def test_append_makes_a_channel(make: MakeSubject) -> None:
    """Appending makes a channel if it may, and says so if it may not."""
    subject = make()
    with pytest.raises(ChannelNotFound):
        await subject.store.append(Update("a", b"news"), create=False)
    with pytest.raises(ChannelNotFound):
        await subject.store.info("a")
    assert subject.audience.delivered == []
    await subject.store.create("a")
    await subject.store.append(Update("a", b"news"), create=False)
    assert await kept(subject) == [b"news"]


async def test_an_empty_channel(make: MakeSubject) -> None:
    """A channel without a message has the id 0:0, and nobody asked for it."""
    subject = make()
    info = await subject.store.create("a")
    assert (info.messages, info.requested, info.subscribers) == (0, -1, 0)
    assert info.last_message_id == MessageId(0, 0)
    assert await subject.store.info("a") == info


async def test_create_changes_nothing(make: MakeSubject) -> None:
    """Creating a channel that is there leaves it as it is."""
    subject = make()
    await subject.append("a", b"news")
    before = await subject.store.info("a")
    assert await subject.store.create("a") == before
    assert await kept(subject) == [b"news"]


async def test_info(make: MakeSubject) -> None:
    """The info tells how many are kept and which is the newest."""
    subject = make()
    for number in range(1, 4):
        appended = await subject.store.append(Update("a", b""))
        assert appended.info.messages == number
        assert appended.info.last_message_id == appended.message.id
        assert await subject.store.info("a") == appended.info


async def test_requested(make: MakeSubject) -> None:
    """The info tells whole seconds since a subscriber asked, not a publisher."""
    subject = make()
    assert (await subject.store.append(Update("a", b""))).info.requested == -1
    await subject.store.next("a", FUTURE)
    told = []
    for step in (0, 0.5, 0.5, 1.999, 0.001, -100):
        subject.clock.move(step)
        told.append((await subject.store.info("a")).requested)
    assert told == [0, 0, 1, 2, 3, 0]
    await subject.store.append(Update("a", b""))
    await subject.store.create("a")
    subject.clock.move(110)
    assert (await subject.store.info("a")).requested == 13


async def test_delete(make: MakeSubject) -> None:
    """A deletion returns what the channel was, and tells all who wait."""
    subject = make()
    for _ in range(3):
        await subject.append("a")
    await subject.store.next("a", FUTURE)
    before = await subject.store.info("a")
    subject.wait("a")
    assert await subject.store.delete("a") == before
    assert subject.audience.dropped == ["a"]
    with pytest.raises(ChannelNotFound):
        await subject.store.delete("a")
    with pytest.raises(ChannelNotFound):
        await subject.store.next("a", START, create=False)
    assert subject.audience.dropped == ["a"]


async def test_delete_one_of_two(make: MakeSubject) -> None:
    """A deletion is of one channel."""
    subject = make()
    await subject.append("a", b"1")
    await subject.append("b", b"2")
    await subject.store.delete("a")
    assert await kept(subject, "b") == [b"2"]
    assert await kept(subject, "a") == []


async def test_who_waits_is_handed_each_message(make: MakeSubject) -> None:
    """Who waits is handed each message once, in the order of their ids."""
    subject = make()
    subject.wait("a")
    appended = [await subject.store.append(Update("a", b"%d" % n)) for n in range(5)]
    assert [each.delivered for each in appended] == [True] * 5
    assert subject.audience.delivered == [("a", each.message) for each in appended]
    subject.leave("a")
    assert not (await subject.store.append(Update("a", b"5"))).delivered


async def test_concurrent_appends(make: MakeSubject) -> None:
    """Many who append at once get ids of their own, handed out in their order."""
    subject = make()
    subject.wait("a")
    appended = await asyncio.gather(
        *(subject.store.append(Update("a", b"%d" % number)) for number in range(100))
    )
    ids = [each.message.id for each in appended]
    assert len(set(ids)) == 100
    handed = [message for _, message in subject.audience.delivered]
    assert [each.id for each in handed] == sorted(ids)
    assert [each.previous for each in handed[1:]] == sorted(ids)[:-1]


# Limits


@limited
async def test_max_channels(make: MakeSubject) -> None:
    """One channel more than max_channels is refused, whoever asks for it."""
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
async def test_max_channels_and_a_channel_that_is_not_wanted(
    make: MakeSubject,
) -> None:
    """Who may create none is told that there is none, not that there are too many."""
    subject = make(max_channels=1)
    await subject.append("a")
    with pytest.raises(ChannelNotFound):
        await subject.store.next("b", START, create=False)


@pytest.mark.parametrize("use", ["create", "append", "next", "info", "unkept"])
async def test_channel_timeout(make: MakeSubject, use: str) -> None:
    """A channel is forgotten channel_timeout seconds after it was last used."""
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
    # Looking would use it, so look from a time at which nothing is changed by that.
    subject.clock.move(-99)
    await subject.store.info("a")
    subject.clock.now = before + 1
    subject.free()
    with pytest.raises(ChannelNotFound):
        await subject.store.info("a")


async def test_a_channel_with_messages_is_not_forgotten(make: MakeSubject) -> None:
    """A channel is there as long as it has a message, and goes with the last."""
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


async def test_a_channel_with_messages_for_ever(make: MakeSubject) -> None:
    """A channel whose messages do not expire is never forgotten."""
    subject = make(channel_timeout=10)
    await subject.append("a", b"news")
    subject.clock.move(10**6)
    subject.free()
    assert await kept(subject) == [b"news"]


async def test_an_expired_channel_is_still_there(make: MakeSubject) -> None:
    """A channel whose messages have all expired still exists, until it is forgotten."""
    subject = make(channel_timeout=100, message_timeout=10)
    await subject.append("a", b"news")
    subject.clock.move(50)
    subject.free()
    assert await subject.store.next("a", START, create=False) is None


async def test_a_channel_with_subscribers_is_not_forgotten(make: MakeSubject) -> None:
    """A channel is there as long as somebody waits, and then for channel_timeout."""
    subject = make(channel_timeout=100)
    await subject.store.create("a")
    subject.wait("a")
    for _ in range(5):
        subject.clock.move(100)
        subject.free()
    subject.leave("a")
    subject.clock.move(99)
    subject.free()
    subject.clock.move(-99)  # Looking uses it.
    await subject.store.info("a")
    subject.clock.move(100)
    subject.free()
    with pytest.raises(ChannelNotFound):
        await subject.store.info("a")


async def test_no_channel_timeout(make: MakeSubject) -> None:
    """With channel_timeout 0 no channel is forgotten."""
    subject = make(channel_timeout=0)
    await subject.store.create("a")
    subject.clock.move(10**6)
    subject.free()
    await subject.store.info("a")


@limited
async def test_forgotten_channels_make_room(make: MakeSubject) -> None:
    """What was forgotten does not count for max_channels."""
    subject = make(channel_timeout=100, max_channels=1)
    await subject.store.create("a")
    subject.clock.move(100)
    subject.free()
    await subject.store.create("b")


async def test_a_closed_store(make: MakeSubject) -> None:
    """A store may be closed twice, and before it was used."""
    subject = make()
    subject.store.close()
    subject = make(channel_timeout=100)
    await subject.store.create("a")
    subject.store.close()
    subject.store.close()


# A store against a model of it

CHANNELS = st.sampled_from(["a", "b", "c"])


class Model:
    """A channel, told with plain lists."""

    def __init__(self, now: float, floor: MessageId | None) -> None:
        self.floor = floor
        self.messages: list[Message] = []
        self.last_id: MessageId | None = None
        self.used_at = now
        self.requested_at: float | None = None


class StoreMachine(RuleBasedStateMachine):
    """Does anything with a store, and expects what the model does."""

    ids = Bundle("ids")

    @initialize(
        min_messages=st.integers(0, 2),
        max_messages=st.sampled_from([0, 2, 3, 5]),
        message_timeout=st.sampled_from([0, 1, 5]),
        channel_timeout=st.sampled_from([0, 3, 10]),
        max_channels=st.sampled_from([0, 0, 2]),
        steps_back=st.booleans(),
    )
    def start(self, steps_back: bool, **limits: int) -> None:
        self.steps_back = steps_back
        self.limits = limits
        self.loop = asyncio.new_event_loop()
        # What is due is freed by a rule of this machine, not by time.
        self.interval, memory.SWEEP_INTERVAL = memory.SWEEP_INTERVAL, 10**6
        self.clock = Clock()
        self.subject = Subject(self.make_store(**limits), self.clock)
        self.channels: dict[str, Model] = {}
        self.floor: MessageId | None = None
        self.last_ids: dict[str, MessageId] = {}
        self.latest = self.clock.now

    def run(self, function: Callable[[str], None], channel_id: str) -> None:
        """Call a function where the event loop runs."""

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

    # The model

    def first_previous(self, channel_id: str, message_id: MessageId) -> object:
        """Return the id that a channel's first message has before it."""
        return self.channels[channel_id].floor

    def drop(self, channel_id: str) -> None:
        """Let there be no such channel any more."""
        last_id = self.channels.pop(channel_id).last_id
        if last_id is not None:
            self.floor = max(self.floor or last_id, last_id)

    def expire(self, channel: Model) -> None:
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
        if 0 < self.limits["max_channels"] <= len(self.channels):
            return TooManyChannels
        self.channels[channel_id] = Model(self.clock.now, self.floor)
        return self.channels[channel_id]

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
    )
    def append(self, channel_id: str, body: bytes, keep: bool, create: bool) -> object:
        appending = self.subject.store.append(
            Update(channel_id, body, body or None), keep=keep, create=create
        )
        channel = self.find(channel_id, create)
        if not isinstance(channel, Model):
            with pytest.raises(channel):
                self.loop.run_until_complete(appending)
            return multiple()
        self.subject.audience.delivered.clear()
        message, info, delivered = self.loop.run_until_complete(appending)
        previous = channel.last_id or self.first_previous(channel_id, message.id)
        assert message == Message(message.id, body, body or None, previous)
        # Ids grow, over deletions too, and their time is no other than the clock's was.
        assert message.id > self.last_ids.get(channel_id, START)
        assert int(self.clock.now) <= message.id.time <= int(self.latest)
        assert message.id.tag >= 0
        assert delivered == (channel_id in self.subject.audience.waiting)
        if delivered:
            assert self.subject.audience.delivered == [(channel_id, message)]
        channel.used_at = self.clock.now
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
            channel.used_at = channel.requested_at = self.clock.now
            self.expire(channel)
            assert all(each.id <= after for each in channel.messages)
            return
        asking = self.subject.store.next(channel_id, after, create=create)
        channel = self.find(channel_id, create)
        if not isinstance(channel, Model):
            with pytest.raises(channel):
                self.loop.run_until_complete(asking)
            return
        found = self.loop.run_until_complete(asking)
        channel.used_at = channel.requested_at = self.clock.now
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
        channel.used_at = self.clock.now
        self.expire(channel)
        self.check_info(info, channel)

    @rule(channel_id=CHANNELS)
    def create(self, channel_id: str) -> None:
        creating = self.subject.store.create(channel_id)
        channel = self.find(channel_id, create=True)
        if not isinstance(channel, Model):
            with pytest.raises(channel):
                self.loop.run_until_complete(creating)
            return
        info = self.loop.run_until_complete(creating)
        channel.used_at = self.clock.now
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
                self.channels[channel_id].used_at = self.clock.now

    @rule(step=st.sampled_from([0.25, 0.5, 1, 2, 3, 11, -0.25, -1, -7]))
    def move_clock(self, step: float) -> None:
        self.clock.move(step if self.steps_back else abs(step))
        self.latest = max(self.latest, self.clock.now)

    @rule()
    def free(self) -> None:
        async def free() -> None:
            self.subject.free()

        self.loop.run_until_complete(free())
        assert isinstance(self.subject.store, MemoryStore)
        timeout = self.limits["channel_timeout"]
        for channel_id, channel in list(self.channels.items()):
            self.expire(channel)
            if (
                timeout
                and self.clock.now - channel.used_at >= timeout
                and not channel.messages
                and channel_id not in self.subject.audience.waiting
                # A clock that steps back may make a channel live a little longer.
                and not (self.steps_back and channel_id in self.subject.store._channels)
            ):
                self.drop(channel_id)

    @rule(message_id=consumes(ids))
    def forget(self, message_id: MessageId) -> None:
        """Let old ids be asked for less often than new ones."""

    @invariant()
    def no_channel_is_kept_in_secret(self) -> None:
        if hasattr(self, "subject"):
            assert isinstance(self.subject.store, MemoryStore)
            assert set(self.subject.store._channels) == set(self.channels)


TestStoreMachine = StoreMachine.TestCase
