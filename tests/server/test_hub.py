from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from pushserver.conf import MemoryStoreSettings
from pushserver.publishers import Update
from pushserver_channels.exceptions import (
    ChannelGone,
    ChannelNotFound,
    Conflict,
    ServerStopping,
)
from pushserver_channels.hub import Hub
from pushserver_channels.messages import START, Message, MessageId
from pushserver_channels.stores.memory import MemoryStore
from pushserver_channels.types import Scope
from tests.subscribers import OneMessage, subscribe
from tests.waiting import until

from .gated_store import GatedStore

pytestmark = pytest.mark.usefixtures("nothing_left")


class RecordingStore(MemoryStore):
    """A memory store that records the calls of listen() and unlisten()."""

    def __init__(self, settings: MemoryStoreSettings) -> None:
        super().__init__(settings)
        self.heard: list[tuple[str, str]] = []

    def listen(self, channel_id: str) -> None:
        self.heard.append(("listen", channel_id))
        super().listen(channel_id)

    def unlisten(self, channel_id: str) -> None:
        self.heard.append(("unlisten", channel_id))
        super().unlisten(channel_id)


class GatedRecordingStore(RecordingStore, GatedStore):
    """A store that records these calls and holds back its results."""


SETTINGS = MemoryStoreSettings(type="memory")


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    store = RecordingStore(SETTINGS)
    yield Hub(store, asyncio.get_running_loop())
    store.close()


@pytest.fixture
async def gated() -> AsyncIterator[Hub]:
    store = GatedRecordingStore(SETTINGS)
    yield Hub(store, asyncio.get_running_loop())
    store.close()


async def poll(
    hub: Hub,
    channel_id: str,
    after: MessageId = START,
    concurrency: str = "broadcast",
) -> Message | None:
    """Enter the hub, look in the store and wait, as a consumer does."""
    with subscribe(hub, channel_id) as cursor:
        message = await hub.next(channel_id, after)
        if message is None:
            if not cursor.ended:
                hub.admit(cursor, concurrency)
            message = await cursor.heard
        return message


async def held(hub: Hub, channel_id: str, count: int = 1) -> None:
    await until(lambda: len(hub.waiting.get(channel_id, ())) == count)


async def test_held_subscriber_gets_the_next_message(hub: Hub) -> None:
    """A held subscriber gets the next message, and publish() reports the delivery."""
    waiting = asyncio.create_task(poll(hub, "a"))
    await held(hub, "a")
    delivered, info = await hub.publish(Update("a", b"news", b"text/plain"))
    message = await waiting
    assert message is not None
    assert (message.body, message.content_type) == (b"news", b"text/plain")
    assert delivered
    assert info.subscribers == 1
    assert info.last_message_id == message.id


async def test_message_without_subscribers_is_stored(hub: Hub) -> None:
    """Without a waiting subscriber, a message is stored for later requests."""
    delivered, info = await hub.publish(Update("a", b"news"))
    assert not delivered
    assert (info.messages, info.subscribers) == (1, 0)
    message = await poll(hub, "a")
    assert message is not None
    assert message.body == b"news"


async def test_message_reaches_its_channel_only(hub: Hub) -> None:
    """A message reaches only the subscribers of its channel."""
    one = asyncio.create_task(poll(hub, "a"))
    other = asyncio.create_task(poll(hub, "b"))
    await held(hub, "a")
    await held(hub, "b")
    await hub.publish(Update("a", b"news"))
    await one
    assert not other.done()
    await hub.delete("b")
    with pytest.raises(ChannelGone):
        await other


async def test_all_subscribers_get_the_same_message(hub: Hub) -> None:
    """All waiting subscribers get the same message object."""
    waiting = [asyncio.create_task(poll(hub, "a")) for _ in range(100)]
    await held(hub, "a", 100)
    _, info = await hub.publish(Update("a", b"news"))
    messages = await asyncio.gather(*waiting)
    assert info.subscribers == 100
    assert len({id(message) for message in messages}) == 1


async def test_returning_subscriber_gets_messages_in_order(hub: Hub) -> None:
    """A subscriber that returns gets the messages published meanwhile, in order."""
    waiting = asyncio.create_task(poll(hub, "a"))
    await held(hub, "a")
    for body in (b"1", b"2", b"3"):
        await hub.publish(Update("a", body))
    seen = [await waiting]
    while len(seen) < 3:
        last = seen[-1]
        assert last is not None
        seen.append(await poll(hub, "a", last.id))
    assert [each.body for each in seen if each] == [b"1", b"2", b"3"]


async def test_message_published_during_a_lookup_is_not_lost(gated: Hub) -> None:
    """A message published between the store's lookup and its result is not lost."""
    assert isinstance(gated.store, GatedRecordingStore)
    waiting = asyncio.create_task(poll(gated, "a"))
    await gated.store.looked.wait()
    delivered, _ = await gated.publish(Update("a", b"news"))
    gated.store.gate.set()
    message = await waiting
    assert message is not None
    assert message.body == b"news"
    assert delivered


async def test_channel_deleted_during_a_lookup_is_gone(gated: Hub) -> None:
    """A channel deleted between the store's lookup and its result is gone."""
    assert isinstance(gated.store, GatedRecordingStore)
    waiting = asyncio.create_task(poll(gated, "a"))
    await gated.store.looked.wait()
    await gated.delete("a")
    gated.store.gate.set()
    with pytest.raises(ChannelGone):
        await waiting


@pytest.mark.parametrize("concurrency", ["broadcast", "last", "first"])
async def test_message_published_during_one_of_two_lookups(
    gated: Hub, concurrency: str
) -> None:
    """With each concurrency, a message published during a lookup is not lost."""
    assert isinstance(gated.store, GatedRecordingStore)
    waiting = asyncio.create_task(poll(gated, "a", START, concurrency))
    await gated.store.looked.wait()
    await gated.publish(Update("a", b"news"))
    gated.store.gate.set()
    late = asyncio.create_task(poll(gated, "a", MessageId(2**40, 0), concurrency))
    message = await waiting
    assert message is not None
    assert message.body == b"news"
    await held(gated, "a")
    await gated.publish(Update("a", b"more"))
    assert await late is not None


async def test_subscriber_cancelled_during_a_lookup_leaves_nothing(gated: Hub) -> None:
    """A subscriber that is cancelled during the lookup leaves nothing behind."""
    assert isinstance(gated.store, GatedRecordingStore)
    waiting = asyncio.create_task(poll(gated, "a"))
    await gated.store.looked.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not gated.waiting
    assert gated.store.heard == [("listen", "a"), ("unlisten", "a")]


async def test_future_id_gets_the_next_message(hub: Hub) -> None:
    """A subscriber with a future id gets the next message, whatever its id."""
    await hub.publish(Update("a", b"old"))
    waiting = asyncio.create_task(poll(hub, "a", MessageId(2**40, 0)))
    await held(hub, "a")
    delivered, _ = await hub.publish(Update("a", b"new"))
    message = await waiting
    assert message is not None
    assert message.body == b"new"
    assert delivered


async def test_unstored_message_reaches_waiting_subscribers_only(hub: Hub) -> None:
    """A message that is not stored reaches only the waiting subscribers."""
    waiting = asyncio.create_task(poll(hub, "a"))
    await held(hub, "a")
    delivered, info = await hub.publish(Update("a", b"now"), keep=False)
    message = await waiting
    assert message is not None
    assert message.body == b"now"
    assert delivered
    assert info.messages == 0
    assert await hub.next("a", START) is None


async def test_publishing_without_create_needs_a_channel(hub: Hub) -> None:
    """With create=False, a message is published only on an existing channel."""
    with pytest.raises(ChannelNotFound):
        await hub.publish(Update("a", b"news"), create=False)
    assert await hub.create("a") == await hub.info("a")
    await hub.publish(Update("a", b"news"), create=False)


async def test_deletion_ends_all_waits(hub: Hub) -> None:
    """A deletion ends each wait with its own error, and returns the channel info."""
    waiting = [asyncio.create_task(poll(hub, "a")) for _ in range(3)]
    await held(hub, "a", 3)
    info = await hub.delete("a")
    assert (info.subscribers, info.messages) == (3, 0)
    errors = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in errors] == [ChannelGone] * 3
    assert len({id(error) for error in errors}) == 3
    with pytest.raises(ChannelNotFound):
        await hub.info("a")


async def test_deleting_a_missing_channel(hub: Hub) -> None:
    """A channel that does not exist cannot be deleted."""
    with pytest.raises(ChannelNotFound):
        await hub.delete("a")


async def test_subscriber_that_left_gets_no_message(hub: Hub) -> None:
    """A message is delivered only if the wait of a subscriber has not ended."""
    with subscribe(hub, "gone") as gone, subscribe(hub, "gone"):
        gone.end(ServerStopping())
        delivered, info = await hub.publish(Update("gone", b"news"))
        assert delivered  # The other subscriber was waiting.
        delivered, _ = await hub.publish(Update("gone", b"news"))
        assert not delivered
        with pytest.raises(ServerStopping):
            await gone.heard
    assert info.messages == 1


async def test_subscriber_may_leave_twice(hub: Hub) -> None:
    """A subscriber may leave twice, even after others have come and gone."""
    with subscribe(hub, "a") as first:
        hub.leave(first)
        hub.leave(first)
        with subscribe(hub, "a"):
            hub.leave(first)
            assert (await hub.create("a")).subscribers == 1
    assert isinstance(hub.store, RecordingStore)
    assert hub.store.heard == [("listen", "a"), ("unlisten", "a")] * 2


async def test_store_listens_while_a_channel_has_subscribers(hub: Hub) -> None:
    """The store listens from the first subscriber of a channel to the last one."""
    assert isinstance(hub.store, RecordingStore)
    with subscribe(hub, "a"), subscribe(hub, "a"):
        pass
    assert hub.store.heard == [("listen", "a"), ("unlisten", "a")]


async def test_store_stops_listening_after_a_message_to_all(hub: Hub) -> None:
    """After a message to all subscribers, the store does not listen any more."""
    assert isinstance(hub.store, RecordingStore)
    with subscribe(hub, "a"):
        await hub.publish(Update("a", b"news"))
        assert hub.store.heard == [("listen", "a"), ("unlisten", "a")]
    assert hub.store.heard == [("listen", "a"), ("unlisten", "a")]


async def test_broadcast_holds_all_subscribers(hub: Hub) -> None:
    """By default all subscribers are held."""
    waiting = [asyncio.create_task(poll(hub, "a")) for _ in range(3)]
    await held(hub, "a", 3)
    await hub.publish(Update("a", b"news"))
    assert None not in await asyncio.gather(*waiting)


async def test_last_holds_the_newest_subscriber(hub: Hub) -> None:
    """With last, older subscribers get a conflict, and the newest is held."""
    older = [asyncio.create_task(poll(hub, "a")) for _ in range(3)]
    await held(hub, "a", 3)
    newest = asyncio.create_task(poll(hub, "a", START, "last"))
    errors = await asyncio.gather(*older, return_exceptions=True)
    assert [type(error) for error in errors] == [Conflict] * 3
    await held(hub, "a", 1)
    _, info = await hub.publish(Update("a", b"news"))
    assert info.subscribers == 1
    assert await newest is not None


async def test_first_holds_the_oldest_subscriber(hub: Hub) -> None:
    """With first, a new subscriber gets a conflict, and the older one is held."""
    oldest = asyncio.create_task(poll(hub, "a", START, "first"))
    await held(hub, "a")
    with pytest.raises(Conflict):
        await poll(hub, "a", START, "first")
    _, info = await hub.publish(Update("a", b"news"))
    assert info.subscribers == 1
    assert await oldest is not None


@pytest.mark.parametrize("concurrency", ["last", "first"])
async def test_subscriber_answered_at_once_causes_no_conflict(
    hub: Hub, concurrency: str
) -> None:
    """A subscriber that is answered at once causes no conflict."""
    await hub.publish(Update("a", b"1"))
    older = asyncio.create_task(poll(hub, "a", MessageId(2**40, 0), concurrency))
    await held(hub, "a")
    assert await poll(hub, "a", START, concurrency) is not None
    assert not older.done()
    await hub.publish(Update("a", b"2"))
    await older


@pytest.mark.parametrize("concurrency", ["last", "first"])
async def test_no_conflict_between_channels(hub: Hub, concurrency: str) -> None:
    """Subscribers of two channels do not conflict."""
    waiting = [
        asyncio.create_task(poll(hub, channel_id, START, concurrency))
        for channel_id in ("a", "b")
    ]
    for channel_id in ("a", "b"):
        await held(hub, channel_id)
        await hub.publish(Update(channel_id, b"news"))
    assert None not in await asyncio.gather(*waiting)


class CountedCursors(dict):  # type: ignore[type-arg]
    """The waiting cursors, with a count of those that were iterated over."""

    looks = 0

    def __iter__(self) -> Iterator[object]:
        for each in super().__iter__():
            CountedCursors.looks += 1
            yield each


async def test_new_subscriber_costs_the_same_among_many(hub: Hub) -> None:
    """A new subscriber costs the same, however many are waiting."""
    cursors = [OneMessage("a") for _ in range(300)]
    hub.enter(cursors[0])
    hub.waiting["a"] = CountedCursors(hub.waiting["a"])
    for each in cursors:
        hub.enter(each)
        hub.admit(each, "broadcast")
    looks = CountedCursors.looks
    for each in cursors:
        hub.leave(each)
    assert looks <= 2 * len(cursors)


async def test_stopping_server_ends_all_waits(hub: Hub) -> None:
    """A server that stops ends all waits, and waits until they are answered."""
    answered = []

    async def answer(channel_id: str) -> None:
        try:
            await poll(hub, channel_id)
        except ServerStopping:
            await asyncio.sleep(0)
            answered.append(channel_id)

    tasks = [asyncio.create_task(answer(channel_id)) for channel_id in "aabc"]
    for channel_id, count in (("a", 2), ("b", 1), ("c", 1)):
        await held(hub, channel_id, count)
    await hub.stop()
    assert sorted(answered) == ["a", "a", "b", "c"]
    assert all(task.done() for task in tasks)
    await hub.stop()


async def test_websockets_end_before_requests(hub: Hub) -> None:
    """A server may not wait for its sockets, so they are answered first."""
    answered: list[str] = []

    async def answer(name: str, scope: Scope) -> None:
        with subscribe(hub, "a") as cursor:
            cursor.scope = scope
            cursor.task = asyncio.current_task()
            try:
                await cursor.heard
            except ServerStopping:
                await asyncio.sleep(0)
                answered.append(name)

    request, socket = {"type": "http"}, {"type": "http", "subprotocols": []}
    tasks = [
        asyncio.create_task(answer(name, scope))
        for name, scope in (("1", request), ("2", socket), ("3", request))
    ]
    await held(hub, "a", 3)
    await hub.stop()
    await asyncio.gather(*tasks)
    assert answered == ["2", "1", "3"]


async def test_subscriber_cancelled_while_waiting_leaves_nothing(hub: Hub) -> None:
    """A subscriber that is cancelled while it waits leaves nothing behind."""
    waiting = asyncio.create_task(poll(hub, "a"))
    await held(hub, "a")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not hub.waiting
