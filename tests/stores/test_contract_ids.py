"""Ids only grow, whatever the clock does; on each kind of store."""

from __future__ import annotations

import pytest

from pushserver.publishers import Update
from pushserver_channels.exceptions import ChannelNotFound

from .conftest import START_OF_CLOCK, MakeSubject
from .contract import counting, kept


@counting
async def test_id_is_the_second_and_a_tag(make: MakeSubject) -> None:
    """An id is the second in which it was given, and a tag that counts within it."""
    subject = make()
    now = int(START_OF_CLOCK)
    ids = [(await subject.append("a")).id for _ in range(3)]
    subject.clock.move(1)
    ids.append((await subject.append("a")).id)
    assert ids == [(now, 0), (now, 1), (now, 2), (now + 1, 0)]


@counting
async def test_each_channel_has_its_own_tags(make: MakeSubject) -> None:
    """Each channel counts its own tags."""
    subject = make()
    assert (await subject.append("a")).id.tag == 0
    assert (await subject.append("b")).id.tag == 0
    assert (await subject.append("a")).id.tag == 1


@counting
@pytest.mark.parametrize("step", [-0.5, -1, -3600, -START_OF_CLOCK])
async def test_ids_when_the_clock_steps_back(make: MakeSubject, step: float) -> None:
    """When the clock steps back, ids keep the last time and the tag continues."""
    subject = make()
    before = await subject.append("a")
    subject.clock.move(step)
    after = [(await subject.append("a")).id for _ in range(2)]
    assert after == [(before.id.time, 1), (before.id.time, 2)]


@counting
async def test_ids_when_the_clock_has_caught_up(make: MakeSubject) -> None:
    """When the clock has caught up, ids use its time again."""
    subject = make()
    ids = []
    for step in (0, -10, 5, 4, 0.75, 1, 1):
        subject.clock.move(step)
        ids.append((await subject.append("a")).id)
    assert ids == sorted(set(ids))
    assert ids[-1] == (int(subject.clock.now), 0)


async def test_ids_continue_after_deletion_and_creation(make: MakeSubject) -> None:
    """Ids continue after a channel was deleted and created again within a second."""
    subject = make()
    ids = []
    for _ in range(5):
        ids += [(await subject.append("a")).id for _ in range(2)]
        await subject.store.delete("a")
    assert ids == sorted(set(ids))


async def test_ids_continue_after_two_deletions(make: MakeSubject) -> None:
    """Ids continue after a channel was created and deleted without a message."""
    subject = make()
    before = await subject.append("a")
    for _ in range(3):
        await subject.store.delete("a")
        await subject.store.create("a")
    assert (await subject.append("a")).id > before.id


@pytest.mark.parametrize("step", [-0.5, -1, -3600])
async def test_ids_continue_after_deletion_and_a_clock_step_back(
    make: MakeSubject, step: float
) -> None:
    """Ids continue when the clock steps back while the channel is deleted."""
    subject = make()
    ids = [(await subject.append("a")).id for _ in range(3)]
    await subject.store.delete("a")
    subject.clock.move(step)
    ids.append((await subject.append("a")).id)
    assert ids == sorted(set(ids))


async def test_ids_continue_after_expiry_and_a_clock_step_back(
    make: MakeSubject,
) -> None:
    """Ids continue when the clock steps back after a channel has expired."""
    subject = make(message_timeout=10, channel_timeout=100)
    before = [(await subject.append("a")).id for _ in range(3)]
    subject.clock.move(200)
    subject.free()
    with pytest.raises(ChannelNotFound):
        await subject.store.info("a")
    subject.clock.move(-200)
    assert (await subject.append("a")).id > before[-1]


async def test_ids_continue_after_messages_expire(make: MakeSubject) -> None:
    """Ids continue after the messages have expired."""
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


async def test_unstored_message_has_an_id(make: MakeSubject) -> None:
    """A message that is not kept has an id like any other."""
    subject = make()
    first = await subject.append("a")
    unkept = (await subject.store.append(Update("a", b""), keep=False)).message
    last = await subject.append("a")
    assert first.id < unkept.id < last.id
    assert (unkept.previous, last.previous) == (first.id, unkept.id)
