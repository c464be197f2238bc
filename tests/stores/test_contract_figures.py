"""The channels of a store as the dashboard shows them; on each kind of store."""

from __future__ import annotations

import pytest

from pushserver.publishers import Update
from pushserver_channels.exceptions import ChannelNotFound
from pushserver_channels.messages import MessageId
from pushserver_channels.stores.figures import BATCH, ChannelFigures, Matches

from .conftest import MakeSubject, Subject
from .contract import FUTURE, counting

ODD_IDS = (
    "__proto__",
    "<script>alert(1)</script>",
    "a/b?c=d#e&f%2F",
    "ü" * 100,
    "channel:{00}:channel:x",
    "[ab]*^\\",
    " ",
)


async def scan(
    subject: Subject, matches: Matches = lambda channel_id: True
) -> dict[str, ChannelFigures]:
    found = {}
    async for some in subject.store.scan(matches):
        found.update({each.channel_id: each for each in some})
    return found


async def test_all_channels_are_found(make: MakeSubject) -> None:
    """A scan finds each channel that exists, whatever its id, and no others."""
    subject = make()
    for channel_id in ODD_IDS:
        await subject.append(channel_id, b"news")
    await subject.store.create("created")
    await subject.append("deleted", b"news")
    await subject.store.delete("deleted")
    found = await scan(subject)
    assert set(found) == {*ODD_IDS, "created"}
    assert found["created"] == ChannelFigures("created", 0, MessageId(0, 0), 0.0)
    assert await scan(subject, lambda channel_id: "[ab]" in channel_id) == {
        ODD_IDS[5]: found[ODD_IDS[5]]
    }


@counting
async def test_more_channels_than_a_batch(make: MakeSubject) -> None:
    """A scan goes on until it has found all."""
    subject = make()
    ids = {f"channel {number}" for number in range(2 * BATCH + 7)}
    for channel_id in ids:
        await subject.append(channel_id)
    assert set(await scan(subject)) == ids


async def test_figures(make: MakeSubject) -> None:
    """The figures are those of the channel info, and change nothing there."""
    subject = make()
    for number in range(3):
        await subject.append("a", b"%d" % number)
    before = await subject.store.info("a")
    subject.clock.move(5)
    [figures] = await subject.store.measure(["a", "missing"])
    assert figures.channel_id == "a"
    assert figures.messages == 3
    assert figures.last_message_id == before.last_message_id
    assert await scan(subject) == {"a": figures}
    assert await subject.store.info("a") == before
    with pytest.raises(ChannelNotFound):
        await subject.store.info("missing")


async def test_rate(make: MakeSubject) -> None:
    """The rate is that of the last minute."""
    subject = make()
    for _ in range(6):
        await subject.append("a")
        subject.clock.move(5)

    async def rate() -> float:
        [figures] = await subject.store.measure(["a"])
        return figures.per_minute

    assert await rate() == 6
    subject.clock.move(45)
    assert await rate() == 2
    subject.clock.move(60)
    assert await rate() == 0


async def test_rate_of_more_messages_than_are_kept(make: MakeSubject) -> None:
    """Where only the newest are kept, the rate is that of these."""
    subject = make(max_messages=10)
    for _ in range(20):
        await subject.append("a")
        subject.clock.move(1)
    [figures] = await subject.store.measure(["a"])
    assert figures.messages == 10
    assert figures.per_minute == pytest.approx(60, rel=0.1)


async def test_rate_where_messages_expire_early(make: MakeSubject) -> None:
    """Where messages are kept for seconds, the rate is that of these seconds."""
    subject = make(message_timeout=10)
    for _ in range(10):
        await subject.append("a")
        subject.clock.move(2)
    [figures] = await subject.store.measure(["a"])
    assert figures.per_minute == pytest.approx(30, rel=0.25)


async def test_an_idle_channel_is_not_shown(make: MakeSubject) -> None:
    """A channel whose time is up does not exist any more."""
    subject = make(channel_timeout=10)
    await subject.store.create("a")
    assert set(await scan(subject)) == {"a"}
    subject.clock.move(11)
    subject.free()
    assert await scan(subject) == {}
    assert await subject.store.measure(["a"]) == []


async def test_newest(make: MakeSubject) -> None:
    """The newest messages are read in their order, without a subscriber's request."""
    subject = make()
    for number in range(25):
        await subject.append("a", b"%d" % number)
    await subject.store.append(
        Update("a", b"{}", b"application/json", event="story", expires=100)
    )
    messages = await subject.store.newest("a", 22)
    assert [each.body for each in messages[:-1]] == [b"%d" % n for n in range(4, 25)]
    assert messages[-1].event == "story"
    assert messages[-1].content_type == b"application/json"
    assert messages[-1].previous == messages[-2].id
    assert (await subject.store.info("a")).requested == -1
    assert await subject.store.newest("missing", 10) == []
    assert len(await subject.store.newest("a", 100)) == 26


async def test_newest_large_messages(make: MakeSubject) -> None:
    """Of large messages fewer are read at once, but at least one."""
    subject = make()
    for number in range(12):
        await subject.append("a", b"%02d" % number + b"x" * 200_000)
    messages = await subject.store.newest("a", 100)
    assert 1 <= len(messages) <= 10
    assert messages[-1].body[:2] == b"11"
    after = await subject.store.next("a", FUTURE)
    assert after is None
