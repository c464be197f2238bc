"""The memory that kept messages take; on the stores that limit it."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushserver.conf import MemoryStoreSettings
from pushserver.publishers import Update
from pushserver_channels.messages import START, MessageId
from pushserver_channels.stores.memory import MemoryStore
from pushserver_channels.stores.memory_channel import CHANNEL_OVERHEAD, MESSAGE_OVERHEAD

from .conftest import Clock, MakeSubject, Subject
from .contract import kept, limited


def size_of(channels: int, *bodies: int) -> int:
    """Return the size that bodies with these lengths count with."""
    messages = sum(length + MESSAGE_OVERHEAD for length in bodies)
    return channels * CHANNEL_OVERHEAD + messages


@limited
async def test_oldest_messages_of_the_largest_channel_are_dropped(
    make: MakeSubject,
) -> None:
    """Beyond max_bytes the oldest messages of the largest channel go, with a gap."""
    subject = make(max_bytes=size_of(2, 10, *[10_000] * 3))
    small = await subject.append("small", b"s" * 10)
    large = [await subject.append("large", b"%d" % n * 10_000) for n in range(3)]
    assert len(await kept(subject, "large")) == 3
    newest = await subject.append("large", b"3" * 10_000)
    bodies = [each[:1] for each in await kept(subject, "large")]
    assert bodies == [b"1", b"2", b"3"]
    assert await kept(subject, "small") == [small.body]
    assert (await subject.store.info("large")).messages == 3
    oldest = await subject.store.next("large", START)
    assert oldest is not None
    assert oldest.gap_after(START) is None
    assert newest.gap_after(large[-1].id) is None
    missed = MessageId(large[0].id.time - 1, 0)
    assert oldest.gap_after(missed) == large[0].id


@limited
async def test_client_of_a_channel_whose_messages_were_dropped_gets_a_gap(
    make: MakeSubject,
) -> None:
    """A channel may lose all its messages; its clients get a gap with the next one."""
    subject = make(max_bytes=size_of(1, 20_000))
    seen = await subject.append("a", b"x" * 10)
    missed = await subject.append("a", b"x" * 18_000)
    await subject.append("b", b"x" * 20_000)
    assert await subject.store.next("a", seen.id) is None
    assert (await subject.store.info("a")).last_message_id == missed.id
    message = await subject.append("a", b"news")
    assert await subject.store.next("a", seen.id) == message
    assert message.gap_after(seen.id) == missed.id


@limited
async def test_max_bytes_takes_precedence_over_min_messages(make: MakeSubject) -> None:
    """Messages that min_messages would keep are dropped, too."""
    subject = make(min_messages=10, max_bytes=size_of(1, 1000, 1000))
    for number in range(5):
        await subject.append("a", b"%d" % number * 1000)
    assert [each[:1] for each in await kept(subject)] == [b"3", b"4"]


@limited
async def test_message_larger_than_max_bytes_is_not_kept(make: MakeSubject) -> None:
    """A message that is too large by itself is delivered, and others are kept."""
    subject = make(max_bytes=size_of(1, 1000))
    subject.wait("a")
    await subject.append("a", b"small")
    seen = subject.audience.delivered[-1][1]
    appended = await subject.store.append(Update("a", b"x" * 1001))
    assert appended.delivered
    assert appended.info.messages == 1
    assert await kept(subject) == [b"small"]
    message = await subject.append("a", b"next")
    assert message.gap_after(seen.id) == appended.message.id
    assert message.gap_after(appended.message.id) is None
    subject.leave("a")


@limited
async def test_newest_message_is_kept(make: MakeSubject) -> None:
    """A message that fits is kept, even if its channel is the largest then."""
    subject = make(max_bytes=size_of(1, 50_000))
    for number in range(20):
        await subject.append(f"channel {number}", b"x" * 100)
    await subject.append("large", b"x" * 50_000)
    assert await kept(subject, "large") == [b"x" * 50_000]


@limited
async def test_max_bytes_zero_is_no_limit(make: MakeSubject) -> None:
    """With max_bytes 0 nothing is dropped."""
    subject = make(max_bytes=0)
    for number in range(10):
        await subject.append("a", b"%d" % number * 10_000)
    assert len(await kept(subject)) == 10


@limited
async def test_freed_messages_make_room(make: MakeSubject) -> None:
    """Messages that expired, were deleted or exceeded max_messages do not count."""
    limit = size_of(2, *[1000] * 4)
    subject = make(max_bytes=limit, max_messages=2, message_timeout=10)
    for number in range(20):
        await subject.append("a", b"x" * 1000)
        await subject.append("b", b"x" * 1000)
        if number % 5 == 4:
            await subject.store.delete("a")
            subject.clock.move(11)
            subject.free()
            assert await kept(subject, "b") == []
    await subject.append("a", b"x" * 1000)
    await subject.append("b", b"x" * 1000)
    await subject.append("a", b"x" * 1000)
    await subject.append("b", b"x" * 1000)
    assert [len(await kept(subject, each)) for each in "ab"] == [2, 2]


@limited
async def test_dropping_is_logged_once_a_minute(
    make: MakeSubject, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says once that messages are dropped, not for each message."""
    caplog.set_level(logging.WARNING)
    subject = make(max_bytes=size_of(1, 1000))
    for _ in range(10):
        await subject.append("a", b"x" * 1000)
    lines = [each for each in caplog.messages if "max_bytes" in each]
    assert len(lines) == 1


def sizes(store: MemoryStore) -> list[int]:
    """Return the sizes of the channels of a store."""
    return [
        size_of(1, *(len(message.body) for message in channel.messages))
        for channel in store.channels.values()
        if channel.messages
    ]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["append", "append", "append", "delete", "move"]),
            st.sampled_from("abcd"),
            st.sampled_from([0, 100, 2000, 9000]),
        ),
        max_size=60,
    )
)
async def test_kept_messages_never_take_more(
    steps: list[tuple[str, str, int]],
) -> None:
    """Whatever happens, no more than max_bytes is kept, and no size is miscounted."""
    limit = 20_000
    settings = MemoryStoreSettings(
        type="memory", max_bytes=limit, max_messages=5, message_timeout=10
    )
    clock = Clock()
    store = MemoryStore(settings, clock)
    subject = Subject(store, clock)
    for step, channel_id, length in steps:
        if step == "move":
            clock.move(3)
            store.sweep()
        elif step == "delete" and channel_id in store.channels:
            await store.delete(channel_id)
        elif step == "append":
            newest = await subject.append(channel_id, b"x" * length)
            messages = store.channels[channel_id].messages
            assert messages is not None
            assert messages[-1] == newest
            assert sum(sizes(store)) <= limit
    for channel_id in list(store.channels):
        await store.delete(channel_id)
    # If a size were still counted, there would be no room for these.
    body = b"x" * ((limit - CHANNEL_OVERHEAD) // 5 - MESSAGE_OVERHEAD)
    for _ in range(5):
        await subject.append("last", body)
    assert await kept(subject, "last") == [body] * 5
    store.close()


@limited
async def test_messages_with_an_end_of_their_own_count_until_it(
    make: MakeSubject,
) -> None:
    """What has expired, also amid other messages, leaves room for as much again."""
    subject = make(max_bytes=size_of(1, 1000, 1000, 1000))
    await subject.append("a", b"1" * 1000)
    await subject.store.append(Update("a", b"2" * 1000, expires=3))
    await subject.append("a", b"3" * 1000)
    subject.clock.now += 5
    assert [each[:1] for each in await kept(subject, "a")] == [b"1", b"3"]
    await subject.append("a", b"4" * 1000)
    assert [each[:1] for each in await kept(subject, "a")] == [b"1", b"3", b"4"]
    await subject.append("a", b"5" * 1000)
    assert [each[:1] for each in await kept(subject, "a")] == [b"3", b"4", b"5"]
