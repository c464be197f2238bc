"""Creating, describing and deleting a channel; on each kind of store."""

from __future__ import annotations

import asyncio

import pytest

from pushserver.publishers import Update
from pushserver_channels.exceptions import ChannelNotFound
from pushserver_channels.messages import START, MessageId

from .conftest import MakeSubject
from .contract import FUTURE, kept


async def test_append_creates_a_channel(make: MakeSubject) -> None:
    """Appending creates a channel if it is allowed to, and fails otherwise."""
    subject = make()
    with pytest.raises(ChannelNotFound):
        await subject.store.append(Update("a", b"news"), create=False)
    with pytest.raises(ChannelNotFound):
        await subject.store.info("a")
    assert subject.audience.delivered == []
    await subject.store.create("a")
    await subject.store.append(Update("a", b"news"), create=False)
    assert await kept(subject) == [b"news"]


async def test_info_of_an_empty_channel(make: MakeSubject) -> None:
    """An empty channel has the last id 0:0 and was never requested."""
    subject = make()
    info = await subject.store.create("a")
    assert (info.messages, info.requested, info.subscribers) == (0, -1, 0)
    assert info.last_message_id == MessageId(0, 0)
    assert await subject.store.info("a") == info


async def test_create_does_not_change_an_existing_channel(make: MakeSubject) -> None:
    """Creating an existing channel does not change it."""
    subject = make()
    await subject.append("a", b"news")
    before = await subject.store.info("a")
    assert await subject.store.create("a") == before
    assert await kept(subject) == [b"news"]


async def test_info(make: MakeSubject) -> None:
    """The info has the number of messages and the newest id."""
    subject = make()
    for number in range(1, 4):
        appended = await subject.store.append(Update("a", b""))
        assert appended.info.messages == number
        assert appended.info.last_message_id == appended.message.id
        assert await subject.store.info("a") == appended.info


async def test_requested(make: MakeSubject) -> None:
    """The info has the whole seconds since the last request of a subscriber."""
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


async def test_delete_returns_the_info(make: MakeSubject) -> None:
    """Deleting returns the channel's info, and notifies all subscribers."""
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


async def test_delete_does_not_change_other_channels(make: MakeSubject) -> None:
    """Deleting a channel does not change other channels."""
    subject = make()
    await subject.append("a", b"1")
    await subject.append("b", b"2")
    await subject.store.delete("a")
    assert await kept(subject, "b") == [b"2"]
    assert await kept(subject, "a") == []


async def test_subscriber_gets_each_message_once(make: MakeSubject) -> None:
    """A subscriber gets each message once, in the order of ids."""
    subject = make()
    subject.wait("a")
    appended = [await subject.store.append(Update("a", b"%d" % n)) for n in range(5)]
    assert [each.delivered for each in appended] == [True] * 5
    assert subject.audience.delivered == [("a", each.message) for each in appended]
    subject.leave("a")
    assert not (await subject.store.append(Update("a", b"5"))).delivered


async def test_concurrent_appends(make: MakeSubject) -> None:
    """Concurrent appends get different ids, and are delivered in their order."""
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
