"""The guarantees of a store over a channel layer, and what it reports if it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import count, pairwise
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.test import override_settings

from pushserver.checks import check_settings
from pushserver.conf import ChannelLayerStoreSettings, read_settings
from pushserver.conf.readers import InvalidSetting
from pushserver.publishers import Update
from pushserver_channels.exceptions import ChannelNotFound, StoreUnavailable
from pushserver_channels.messages import START, Message, MessageId
from pushserver_channels.stores import layer as layer_store
from pushserver_channels.stores import make_store
from pushserver_channels.stores.layer import ChannelLayerStore
from tests.valkey import Valkey
from tests.waiting import until

from .conftest import LAYERS, attach_audience, audience_of, close_layer, layer_settings

MakeStore = Callable[..., ChannelLayerStore]


FUTURE = MessageId(2**40, 0)


_groups = (f"layer {number}" for number in count())


class FragileLayer(InMemoryChannelLayer):  # type: ignore[misc]
    """A layer in memory that fails as a test demands.

    Attributes:
        fails: Whether it refuses all messages.
        deaf: The channel to which it delivers nothing.
        repeats: Whether it delivers everything twice.
        accepted: The types of the events that it has sent to the group.
        received: The channels of processes, each with an event that it got there.
    """

    fails = repeats = False
    deaf = ""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.accepted: list[str] = []
        self.received: list[tuple[str, dict[str, Any]]] = []

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if self.fails:
            raise OSError("the layer is away")
        await super().group_send(group, message)
        self.accepted.append(message["type"])

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        for _ in range(2 if self.repeats else 1):
            if channel != self.deaf:
                await super().send(channel, message)

    async def receive(self, channel: str) -> Any:
        message = await super().receive(channel)
        if message["type"] == "test.failure":
            raise OSError("the layer is away")
        self.received.append((channel, message))
        return message


@pytest.fixture(params=["fragile"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[MakeStore]:
    """Make stores in one group, each as if in its own process."""
    stores = []
    group = next(_groups)
    layers: dict[str, Any] = {
        "default": {"BACKEND": "tests.stores.test_layer.FragileLayer"}
    }
    if request.param != "fragile":
        layers = layer_settings(request.param, request)

    def make(
        *, late: bool = False, serving: bool = True, **limits: Any
    ) -> ChannelLayerStore:
        settings = ChannelLayerStoreSettings(
            type="channel_layer", group=group, **limits
        )
        store = ChannelLayerStore(settings, is_late=late)
        if serving:
            attach_audience(store)
        stores.append(store)
        return store

    with override_settings(CHANNEL_LAYERS=layers):
        yield make
        for store in stores:
            await store.aclose()
        await close_layer()


def heard(store: ChannelLayerStore) -> list[Message]:
    """Return the messages that were delivered to subscribers."""
    return [message for _, message in audience_of(store).delivered]


def members() -> list[str]:
    """Return the channels of the processes, in the order in which they joined."""
    groups = get_channel_layer().groups.values()
    return [channel for group in groups for channel in group]


def kept(store: ChannelLayerStore) -> list[Message]:
    """Return the messages of the channel in one process."""
    channel = store.channels.get("a")
    return list((channel and channel.messages) or ())


async def append(store: ChannelLayerStore, body: bytes = b"") -> Message:
    return (await store.append(Update("a", body))).message


async def join(*stores: ChannelLayerStore) -> None:
    """Let the processes join their group before the first message."""
    for store in stores:
        await store.next("a", FUTURE)


async def until_present(channel: str, count: int) -> None:
    """Wait until a process has got a presence event of each of some processes."""
    received = get_channel_layer().received
    received.clear()

    def senders() -> set[str]:
        return {
            event["sender"]
            for to, event in received
            if to == channel and event["type"] == "push.presence"
        }

    await until(lambda: len(senders()) == count)


every_layer = pytest.mark.parametrize("make", LAYERS, indirect=True)


@pytest.mark.process
@every_layer
async def test_message_reaches_every_process(make: MakeStore) -> None:
    """A message reaches all processes with the same id, byte for byte."""
    here, there, far = make(), make(), make()
    await join(here, there, far)
    appended = await here.append(Update("a", bytes(range(256)), b"\xff"))
    for store in (here, there, far):
        await until(lambda store=store: heard(store) == [appended.message])
        assert await store.next("a", START) == appended.message
        assert (await store.info("a")).messages == 1


@pytest.mark.process
@every_layer
async def test_ids_increase_over_processes(make: MakeStore) -> None:
    """In each process, ids continue after those of the other processes."""
    stores = [make() for _ in range(3)]
    await join(*stores)
    ids = []
    for number in range(12):
        store = stores[number % 3]
        ids.append((await append(store, b"%d" % number)).id)
        for each in stores:
            await until(lambda each=each: len(heard(each)) == len(ids))
    assert ids == sorted(set(ids))
    for store in stores:
        assert [message.id for message in heard(store)] == ids
        assert [message.previous for message in heard(store)[1:]] == ids[:-1]


@pytest.mark.process
@every_layer
async def test_concurrent_messages_of_several_processes(make: MakeStore) -> None:
    """All processes keep concurrent messages; late ones are reported as gaps."""
    stores = [make() for _ in range(3)]
    await join(*stores)
    bodies = [b"%d" % number for number in range(60)]
    published = await asyncio.gather(
        *(append(stores[number % 3], body) for number, body in enumerate(bodies))
    )
    ids = sorted(message.id for message in published)
    assert len(set(ids)) == 60
    for store in stores:
        await until(lambda store=store: len(kept(store)) == 60)
        assert [message.id for message in kept(store)] == ids
        assert {message.body for message in kept(store)} == set(bodies)
    last = await append(stores[0])
    for store in stores:
        await until(lambda store=store: heard(store)[-1].id == last.id)
        seen = [message.id for message in heard(store)]
        assert seen == sorted(set(seen))
        told = [
            message.id
            for before, message in pairwise(heard(store))
            if message.gap_after(before.id) is not None
        ]
        missed = set(ids) - set(seen)
        assert all(each < max(told) for each in missed)


async def test_unstored_message_is_delivered_in_every_process(make: MakeStore) -> None:
    """A message that is not kept is delivered in every process, and kept in none."""
    here, there = make(), make()
    await join(here, there)
    await here.append(Update("a", b"now"), keep=False)
    await until(lambda: [each.body for each in heard(there)] == [b"now"])
    assert await there.next("a", START) is None


async def test_process_that_freed_its_channels_still_receives(make: MakeStore) -> None:
    """A process that has freed its channels still receives messages."""
    here, there = make(), make()
    await join(here, there)
    there.sweep()
    appended = await here.append(Update("a", b"1"))
    await until(lambda: heard(there) == [appended.message])


async def test_closed_store_is_unavailable(make: MakeStore) -> None:
    """A closed store is unavailable."""
    store = make()
    await store.aclose()
    with pytest.raises(StoreUnavailable):
        await append(store)


async def test_creation_and_deletion_take_effect_in_every_process(
    make: MakeStore,
) -> None:
    """Creating or deleting a channel takes effect in every process."""
    here, there = make(), make()
    await join(here, there)
    await here.create("b")
    await until(lambda: "b" in there.channels)
    there.listen("b")
    await here.delete("b")
    await until(lambda: audience_of(there).dropped == ["b"])
    with pytest.raises(ChannelNotFound):
        await there.info("b")


async def test_late_process_reports_a_gap(make: MakeStore) -> None:
    """A process has no messages from before its start, and reports a gap."""
    here = make()
    await join(here)
    seen = await append(here, b"1")
    missed = await append(here, b"2")
    late = make(late=True)
    await join(late)
    assert await late.next("a", seen.id) is None
    await append(here, b"3")
    await until(lambda: heard(late))
    found = await late.next("a", seen.id)
    assert found is not None
    assert found.body == b"3"
    gap = found.gap_after(seen.id)
    assert gap is not None
    assert gap >= missed.id
    assert found.gap_after(START) is None


async def test_late_process_reports_a_gap_before_its_own_message(
    make: MakeStore,
) -> None:
    """A new process also reports a gap before its own message."""
    here = make()
    await join(here)
    seen = await append(here, b"1")
    await append(here, b"2")
    late = make(late=True)
    own = await append(late, b"3")
    assert own.gap_after(seen.id) is not None
    following = await append(late, b"4")
    assert following.gap_after(own.id) is None


async def test_dropped_message_leaves_a_gap(make: MakeStore) -> None:
    """A message that the layer drops leaves a gap."""
    here, there = make(), make()
    await join(here, there)
    seen = await append(here, b"1")
    await until(lambda: heard(there))
    get_channel_layer().deaf = members()[1]
    missed = [await append(here, b"2"), await append(here, b"3")]
    get_channel_layer().deaf = ""
    last = await append(here, b"4")
    await until(lambda: len(heard(there)) == 2)
    gap = heard(there)[-1].gap_after(seen.id)
    assert gap is not None
    assert missed[-1].id <= gap < last.id
    following = await append(here, b"5")
    await until(lambda: len(heard(there)) == 3)
    assert heard(there)[-1].gap_after(last.id) is None
    assert following.previous == last.id


async def test_repeated_message_is_delivered_once(make: MakeStore) -> None:
    """A message that the layer delivers twice is passed on once."""
    here, there = make(), make()
    await join(here, there)
    get_channel_layer().repeats = True
    messages = [await append(here, b"%d" % number) for number in range(3)]
    await until(lambda: len(heard(there)) >= 3)
    await asyncio.sleep(0)
    for store in (here, there):
        assert heard(store) == kept(store) == messages


async def test_dropped_last_message_is_detected(
    make: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dropped message is detected soon, even if none follows."""
    monkeypatch.setattr(layer_store, "JOIN_INTERVAL", 0.01)
    here, there = make(), make()
    await join(here, there)
    seen = await append(here, b"1")
    await until(lambda: heard(there))
    get_channel_layer().deaf = members()[1]
    await append(here, b"2")
    get_channel_layer().deaf = ""
    await until_present(members()[1], 2)
    own = await append(there, b"3")
    assert own.gap_after(seen.id) is not None


async def test_forgotten_process_joins_its_group_again(
    make: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that does not receive its own message delivers it and joins again."""
    monkeypatch.setattr(layer_store, "ECHO_TIMEOUT", 0.05)
    here, there = make(), make()
    await join(here, there)
    seen = await append(here, b"1")
    (channel, _) = members()
    await get_channel_layer().flush()
    appended = await here.append(Update("a", b"2"))
    assert heard(here)[-1] == kept(here)[-1] == appended.message
    assert appended.message.gap_after(seen.id) is not None
    await until(lambda: channel in members())
    await append(here, b"3")
    assert [each.body for each in heard(here)] == [b"1", b"2", b"3"]


async def test_message_of_a_cancelled_publisher_is_delivered(make: MakeStore) -> None:
    """A message is delivered even if its publisher is cancelled."""
    store = make()
    await join(store)
    (get_channel_layer().deaf,) = members()
    appending = asyncio.create_task(append(store, b"1"))
    await until(lambda: "push.message" in get_channel_layer().accepted)
    appending.cancel()
    await until(lambda: [each.body for each in heard(store)] == [b"1"])


async def test_message_of_an_early_cancelled_publisher_is_delivered(
    make: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This also holds if it is cancelled before the layer has accepted the message."""
    store = make()
    await join(store)
    sending = asyncio.Event()

    async def never(group: str, message: dict[str, Any]) -> None:
        sending.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(get_channel_layer(), "group_send", never)
    appending = asyncio.create_task(append(store, b"1"))
    await sending.wait()
    appending.cancel()
    monkeypatch.undo()
    await until(lambda: [each.body for each in heard(store)] == [b"1"])


async def test_publishing_process_stores_no_messages(make: MakeStore) -> None:
    """A process that only publishes keeps no messages."""
    store = ChannelLayerStore(ChannelLayerStoreSettings(type="channel_layer"))
    await append(store, b"1")
    assert not store._echoes
    await store.aclose()


async def test_refused_message_is_delivered_to_no_subscriber(make: MakeStore) -> None:
    """A message that the layer refuses is delivered to no subscriber."""
    store = make()
    await join(store)
    get_channel_layer().fails = True
    with pytest.raises(StoreUnavailable):
        await append(store, b"1")
    assert heard(store) == []
    get_channel_layer().fails = False
    await append(store, b"2")
    assert [each.body for each in heard(store)] == [b"2"]


async def test_failed_layer_causes_a_gap(
    make: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that could not receive for a while reports a gap."""
    monkeypatch.setattr(layer_store, "RECONNECT_DELAY", 0)
    store, other = make(), make()
    await join(store, other)
    seen = await append(store, b"1")
    await until(lambda: heard(other))
    (channel, _) = members()
    await get_channel_layer().send(channel, {"type": "test.failure"})
    await until(lambda: len(set(members()) - {channel}) == 2)
    await join(store)
    await append(other, b"2")
    await until(lambda: len(heard(store)) == 2)
    assert heard(store)[-1].gap_after(seen.id) is not None


async def test_process_without_a_server_publishes(make: MakeStore) -> None:
    """A process without a push server publishes without knowing the subscribers."""
    store = make()
    await join(store)
    before = await append(store, b"1")
    publisher = make(serving=False)
    appended = await publisher.append(Update("a", b"2", b"text/plain"))
    assert not appended.delivered
    await until(lambda: len(heard(store)) == 2)
    message = heard(store)[-1]
    assert (message.body, message.content_type) == (b"2", b"text/plain")
    assert message.id > before.id
    assert message.previous == before.id


async def test_max_channels_of_another_process(make: MakeStore) -> None:
    """A message is dropped in a process where it would exceed max_channels."""
    here, there = make(), make(max_channels=1)
    await join(here, there)
    await here.append(Update("b", b""))
    await append(here, b"1")
    await until(lambda: [each.body for each in heard(there)] == [b"1"])


async def test_process_rejoins_its_group_before_it_expires(
    make: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process rejoins its group before it expires, and leaves it on closing."""
    monkeypatch.setattr(layer_store, "JOIN_INTERVAL", 0)
    store = make()
    await join(store)
    joined = members()
    for group in get_channel_layer().groups.values():
        group.clear()
    await until(lambda: members() == joined)
    await store.aclose()
    assert members() == []


@pytest.mark.parametrize(
    ("backend", "shared"),
    [(LAYERS["memory"], False), (LAYERS["redis"], True), (LAYERS["pubsub"], True)],
)
def test_store_is_shared_unless_the_layer_is_in_memory(
    backend: str, shared: bool
) -> None:
    """Processes share the store unless the layer is in memory; W006 says which."""
    store = {"type": "channel_layer", "max_messages": 10}
    with override_settings(
        CHANNEL_LAYERS={"default": {"BACKEND": backend}}, PUSH_SERVER={"store": store}
    ):
        assert read_settings({"store": store}).store["default"].shared == shared
        warnings = check_settings(None)
    assert [warning.id for warning in warnings] == ["pushserver.W006"]
    assert ("no other process" in warnings[0].msg) == (not shared)


@pytest.mark.parametrize("alias", ["defualt", "other"])
def test_missing_layer_is_refused(alias: str) -> None:
    """A layer that is not in CHANNEL_LAYERS is refused."""
    layers = {"default": {"BACKEND": LAYERS["memory"]}}
    with (
        override_settings(CHANNEL_LAYERS=layers),
        pytest.raises(InvalidSetting, match=alias),
    ):
        read_settings({"store": {"type": "channel_layer", "alias": alias}})


def test_stores_that_share_channels_are_refused() -> None:
    """Two stores that would share their channels are refused."""
    stores: dict[str, Any] = {
        name: {"type": "channel_layer"} for name in ("default", "b")
    }
    layers = {"default": {"BACKEND": LAYERS["memory"]}}
    with override_settings(CHANNEL_LAYERS=layers):
        with pytest.raises(InvalidSetting, match="'default'.*'group'"):
            read_settings({"store": stores})
        stores["b"]["group"] = "other"
        assert set(read_settings({"store": stores}).store) == {"default", "b"}


def test_store_is_made_from_its_settings(valkey: Valkey) -> None:
    """A store of the type channel_layer is made from its settings."""
    with override_settings(CHANNEL_LAYERS={"default": {"BACKEND": LAYERS["memory"]}}):
        settings = read_settings({"store": {"type": "channel_layer"}}).store["default"]
        assert isinstance(make_store(settings), ChannelLayerStore)
