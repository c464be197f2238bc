"""The memory store frees its memory."""

from __future__ import annotations

import asyncio
import gc

import pytest

from pushserver.publishers import Update
from pushserver_channels.exceptions import ChannelNotFound, TooManyChannels
from pushserver_channels.messages import START
from pushserver_channels.stores import memory, memory_channel
from pushserver_channels.stores.empty import EmptyChannels
from pushserver_channels.stores.memory import MemoryStore

from .conftest import MakeSubject, Subject

pytestmark = pytest.mark.parametrize("make", ["memory"], indirect=True)


def leftovers(store: MemoryStore) -> int:
    """Return the number of objects in the containers of a store."""
    return sum(
        len(value)
        for value in vars(store).values()
        if isinstance(value, dict | set | list | EmptyChannels)
    )


def sweep_all(subject: Subject) -> None:
    """Free everything that has expired; one sweep frees only a part."""
    assert isinstance(subject.store, MemoryStore)
    before = -1
    while (left := leftovers(subject.store)) != before:
        before = left
        subject.store.sweep()


def timers() -> list[str]:
    """Return the timers of the event loop that will sweep."""
    scheduled = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    return [repr(each) for each in scheduled if "sweep" in repr(each)]


class Body(bytes):
    """Bytes whose deallocation is counted."""

    freed = 0

    def __del__(self) -> None:
        Body.freed += 1


@pytest.fixture(autouse=True)
def none_freed() -> None:
    gc.collect()  # Objects of earlier tests do not count.
    Body.freed = 0


async def publish_watched(subject: Subject, **options: bool) -> None:
    """Publish a message with counted deallocation on the channel ``a``."""
    await subject.store.append(Update("a", Body(b"x" * 1000)), **options)
    subject.audience.delivered.clear()


def memory_store(make: MakeSubject, **limits: object) -> tuple[Subject, MemoryStore]:
    subject = make(**limits)
    if not isinstance(subject.store, MemoryStore):
        pytest.skip("another store")
    return subject, subject.store


async def test_expired_message_is_freed(make: MakeSubject) -> None:
    """An expired message is freed without any request for its channel."""
    subject, store = memory_store(make, message_timeout=10)
    await publish_watched(subject)
    subject.clock.move(10)
    store.sweep()
    assert Body.freed == 0
    subject.clock.move(1)
    store.sweep()
    assert Body.freed == 1


async def test_dropped_message_is_freed(make: MakeSubject) -> None:
    """A message is freed at once when max_messages removes it."""
    subject, _ = memory_store(make, max_messages=2)
    for freed in (0, 0, 1, 2):
        await publish_watched(subject)
        assert Body.freed == freed


async def test_deleted_message_is_freed(make: MakeSubject) -> None:
    """The messages of a deleted channel are freed at once."""
    subject, _ = memory_store(make, message_timeout=10)
    await publish_watched(subject)
    await subject.store.delete("a")
    assert Body.freed == 1


async def test_unstored_message_is_freed(make: MakeSubject) -> None:
    """A message that is not kept is freed at once."""
    subject, _ = memory_store(make)
    await publish_watched(subject, keep=False)
    assert Body.freed == 1


async def test_channels_used_once_leave_nothing(make: MakeSubject) -> None:
    """20,000 channels that are used once leave nothing in memory."""
    subject, store = memory_store(
        make, max_messages=100, message_timeout=10, channel_timeout=3600
    )
    for number in range(20_000):
        await subject.append(f"channel {number}")
        subject.audience.delivered.clear()
    assert len(store.channels) == 20_000
    subject.clock.move(11)
    sweep_all(subject)
    assert all(each.messages is None for each in store.channels.values())
    subject.clock.move(3600)
    sweep_all(subject)
    assert leftovers(store) == 0


@pytest.mark.parametrize("use", ["ask", "create", "unkept", "wait"])
async def test_channels_without_a_message_leave_nothing(
    make: MakeSubject, use: str
) -> None:
    """Channels that were only requested leave nothing in memory."""
    subject, store = memory_store(make, channel_timeout=60)
    for number in range(10_000):
        channel_id = f"channel {number}"
        if use == "ask":
            await store.next(channel_id, START)
        elif use == "create":
            await store.create(channel_id)
        elif use == "unkept":
            await store.append(Update(channel_id, b""), keep=False)
            subject.audience.delivered.clear()
        else:
            store.listen(channel_id)
            await store.next(channel_id, START)
            store.unlisten(channel_id)
    subject.clock.move(60)
    sweep_all(subject)
    assert leftovers(store) == 0


async def test_missing_channels_leave_nothing(make: MakeSubject) -> None:
    """Requests for missing channels leave nothing in memory."""
    _, store = memory_store(make, channel_timeout=60)
    for number in range(1000):
        channel_id = f"channel {number}"
        store.listen(channel_id)
        with pytest.raises(ChannelNotFound):
            await store.next(channel_id, START, create=False)
        store.unlisten(channel_id)
        with pytest.raises(ChannelNotFound):
            await store.append(Update(channel_id, b""), create=False)
        with pytest.raises(ChannelNotFound):
            await store.info(channel_id)
        with pytest.raises(ChannelNotFound):
            await store.delete(channel_id)
    assert leftovers(store) == 0
    assert timers() == []


@pytest.mark.parametrize("same", [True, False])
async def test_repeated_creation_and_deletion_leave_nothing(
    make: MakeSubject, same: bool
) -> None:
    """Creating and deleting channels repeatedly does not use more and more memory."""
    subject, store = memory_store(make, message_timeout=10, channel_timeout=3600)
    sizes = []
    for number in range(5000):
        channel_id = "a" if same else f"channel {number}"
        await subject.append(channel_id)
        subject.audience.delivered.clear()
        await store.delete(channel_id)
        subject.audience.dropped.clear()
        sizes.append(leftovers(store))
        if number % 100 == 99:
            subject.clock.move(1)
    assert max(sizes[2500:]) <= max(sizes[:2500])
    subject.clock.move(3600)
    sweep_all(subject)
    assert leftovers(store) == 0


async def test_expiry_times_do_not_grow_with_messages(make: MakeSubject) -> None:
    """The list of expiry times does not grow with the messages of a channel."""
    subject, store = memory_store(
        make, max_messages=10, message_timeout=10, channel_timeout=3600
    )
    for number in range(10_000):
        await subject.append("a")
        subject.audience.delivered.clear()
        if number % 100 == 99:
            subject.clock.move(1)
            store.sweep()
    assert leftovers(store) <= 3
    subject.clock.move(11)
    sweep_all(subject)
    subject.clock.move(3600)
    sweep_all(subject)
    assert leftovers(store) == 0


async def test_expiry_times_do_not_grow_with_requests(make: MakeSubject) -> None:
    """The list of expiry times does not grow with the requests for a channel."""
    subject, store = memory_store(make, channel_timeout=60)
    for _ in range(1000):
        store.listen("a")
        await store.next("a", START)
        await store.info("a")
        store.unlisten("a")
        subject.clock.move(1)
        store.sweep()
    assert leftovers(store) <= 2


async def test_sweep_frees_only_a_part(
    make: MakeSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep frees only a part, so that requests are not delayed."""
    monkeypatch.setattr(memory, "SWEEP_BATCH", 10)
    subject, store = memory_store(make, channel_timeout=60)
    for number in range(25):
        await store.create(f"channel {number}")
    subject.clock.move(60)
    store.sweep()
    assert len(store.channels) == 15
    store.sweep()
    store.sweep()
    assert leftovers(store) == 0


async def test_expired_messages_are_freed_without_a_call(
    make: MakeSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Expired messages are freed without a call, and then no timer remains."""
    monkeypatch.setattr(memory, "SWEEP_INTERVAL", 0.001)
    subject, store = memory_store(make, message_timeout=1, channel_timeout=60)
    assert timers() == []
    await subject.append("a")
    assert len(timers()) == 1
    subject.clock.move(61)
    while store.channels or timers():
        await asyncio.sleep(0)
    assert leftovers(store) == 0


async def test_sweeps_share_one_timer(make: MakeSubject) -> None:
    """There is one timer, however many sweeps are due."""
    _, store = memory_store(make, message_timeout=1, channel_timeout=60)
    for number in range(10):
        await store.create(f"channel {number}")
        store.sweep()
    assert len([each for each in timers() if "cancelled" not in each]) == 1


async def test_closed_store_has_no_timer(make: MakeSubject) -> None:
    """A closed store is not kept alive by its timer."""
    subject, store = memory_store(make, message_timeout=1, channel_timeout=60)
    await subject.append("a")
    store.close()
    assert [each for each in timers() if "cancelled" not in each] == []


async def test_channels_need_no_garbage_collector(make: MakeSubject) -> None:
    """Channels are freed without the garbage collector."""
    subject, store = memory_store(make, message_timeout=1, channel_timeout=60)
    gc.collect()
    gc.disable()
    try:
        for number in range(100):
            await subject.append(f"channel {number}")
        subject.audience.delivered.clear()
        subject.clock.move(100)
        sweep_all(subject)
        channels = [
            each for each in gc.get_objects() if type(each).__name__ == "MemoryChannel"
        ]
        assert channels == []
    finally:
        gc.enable()


async def test_requested_channels_are_limited(
    make: MakeSubject, caplog: pytest.LogCaptureFixture
) -> None:
    """Requests for any number of channels take limited memory, and one log line."""
    subject, store = memory_store(make, max_empty_channels=100)
    for number in range(5000):
        await store.next(f"channel {number}", START)
    assert leftovers(store) == len(store.empty) == 100
    lines = [each for each in caplog.messages if "max_empty_channels" in each]
    assert len(lines) == 1
    for number in range(100):
        store.listen(f"awaited {number}")
        await store.next(f"awaited {number}", START)
    for number in range(100):
        with pytest.raises(TooManyChannels):
            await store.next(f"channel {number}", START)
    lines = [each for each in caplog.messages if "max_empty_channels" in each]
    assert len(lines) == 2
    for number in range(100):
        store.unlisten(f"awaited {number}")
    subject.clock.move(60)
    sweep_all(subject)
    assert leftovers(store) == 0


async def test_sweep_frees_only_a_part_of_requested_channels(
    make: MakeSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep frees only a part of them, too."""
    monkeypatch.setattr(memory, "SWEEP_BATCH", 10)
    subject, store = memory_store(make)
    for number in range(25):
        await store.next(f"channel {number}", START)
    subject.clock.move(60)
    store.sweep()
    assert len(store.empty) == 15
    store.sweep()
    store.sweep()
    assert leftovers(store) == 0


async def test_messages_beyond_max_bytes_are_freed(make: MakeSubject) -> None:
    """A message is freed at once when max_bytes removes it."""
    size = 1000 + memory_channel.MESSAGE_OVERHEAD
    subject, _ = memory_store(
        make, max_bytes=memory_channel.CHANNEL_OVERHEAD + 2 * size
    )
    for freed in (0, 0, 1, 2):
        await publish_watched(subject)
        assert Body.freed == freed


async def test_kept_messages_are_counted(make: MakeSubject) -> None:
    """The number of kept messages is right, whatever has removed some."""
    subject, store = memory_store(
        make, max_messages=5, message_timeout=30, channel_timeout=60, max_bytes=100_000
    )

    def check() -> None:
        stored = sum(len(each.messages or ()) for each in store.channels.values())
        assert store.count_kept() == (len(store.channels) + len(store.empty), stored)

    for number in range(60):
        channel_id = f"{number % 4}"
        body = b"x" * (number * 200)
        update = Update(channel_id, body, expires=number % 3 * 10 or None)
        await store.append(update, keep=number % 7 > 0)
        await store.next(f"asked {number % 3}", START)
        subject.clock.move(2)
        store.sweep()
        if number % 20 == 19:
            await store.delete(channel_id)
        check()
    assert store.count_kept() > (0, 0)
    subject.clock.move(1000)
    sweep_all(subject)
    assert store.count_kept() == (0, 0)
