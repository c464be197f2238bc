"""Which messages are kept and for how long; on each kind of store."""

from __future__ import annotations

import pytest

from pushserver.publishers import Update
from pushserver_channels.exceptions import ChannelNotFound
from pushserver_channels.messages import START

from .conftest import MakeSubject
from .contract import kept


@pytest.mark.parametrize(
    "body",
    [b"", b"\x00", bytes(range(256)), b"\r\n", "\U0001f600".encode(), b"x" * 1_000_000],
)
@pytest.mark.parametrize(
    "content_type", [None, b"text/plain", b"\xff\xfe", b"x" * 8000]
)
async def test_message_is_stored_byte_for_byte(
    make: MakeSubject, body: bytes, content_type: bytes | None
) -> None:
    """A message is kept byte for byte, with or without a type."""
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
async def test_channel_id_may_be_any_text(make: MakeSubject, channel_id: str) -> None:
    """A channel id may be any text, and identifies one channel."""
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


async def test_without_limits_all_messages_are_stored(make: MakeSubject) -> None:
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
    # The last moment at which the clock shows the second time + message_timeout.
    subject.clock.now = message.id.time + timeout + 0.999
    if ask == "freeing":
        subject.free()
    assert await kept(subject) == [b"news"]
    subject.clock.now = message.id.time + timeout + 1
    if ask == "freeing":
        subject.free()
    assert await kept(subject) == []
    assert (await subject.store.info("a")).messages == 0


async def test_timeout_may_be_a_fraction_of_a_second(make: MakeSubject) -> None:
    """A timeout may be a fraction of a second, although ids have whole seconds."""
    subject = make(message_timeout=0.5)
    message = await subject.append("a", b"news")
    subject.clock.now = message.id.time + 0.999
    assert await kept(subject) == [b"news"]
    subject.clock.now = message.id.time + 1
    assert await kept(subject) == []


async def test_messages_expire_one_by_one(make: MakeSubject) -> None:
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
    """The newest min_messages are kept, whatever their age."""
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
    """Fewer than min_messages never expire."""
    subject = make(min_messages=2, message_timeout=10, channel_timeout=20)
    await subject.append("a", b"1")
    subject.clock.move(10**6)
    subject.free()
    assert await kept(subject) == [b"1"]


async def test_min_and_max_messages(make: MakeSubject) -> None:
    """Between min_messages and max_messages, the timeout decides."""
    subject = make(min_messages=1, max_messages=3, message_timeout=10)
    for number in range(5):
        await subject.append("a", b"%d" % number)
    assert await kept(subject) == [b"2", b"3", b"4"]
    subject.clock.move(20)
    assert await kept(subject) == [b"4"]


async def test_unstored_messages_reach_current_subscribers_only(
    make: MakeSubject,
) -> None:
    """A message that is not kept reaches current subscribers, and no later ones."""
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
