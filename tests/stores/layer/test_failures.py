"""What a store over a channel layer reports if the layer, or a process, fails."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from channels.layers import get_channel_layer

from pushserver.conf import ChannelLayerStoreSettings
from pushserver.publishers import Update
from pushserver_channels.exceptions import StoreUnavailable
from pushserver_channels.messages import START
from pushserver_channels.stores import layer as layer_store
from pushserver_channels.stores import layer_group
from pushserver_channels.stores.layer import ChannelLayerStore
from tests.waiting import until

from .fragile import (
    MakeStore,
    append,
    heard,
    join,
    kept,
    members,
    until_present,
)


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
    monkeypatch.setattr(layer_group, "JOIN_INTERVAL", 0.01)
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
    monkeypatch.setattr(layer_group, "RECONNECT_DELAY", 0)
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
    await append(here, b"1")
    await here.append(Update("b", b""))
    await append(here, b"2")
    await until(lambda: [each.body for each in heard(there)] == [b"1", b"2"])


async def test_process_rejoins_its_group_before_it_expires(
    make: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process rejoins its group before it expires, and leaves it on closing."""
    monkeypatch.setattr(layer_group, "JOIN_INTERVAL", 0)
    store = make()
    await join(store)
    joined = members()
    for group in get_channel_layer().groups.values():
        group.clear()
    await until(lambda: members() == joined)
    await store.aclose()
    assert members() == []


async def test_a_failure_is_logged_once_until_it_changes(
    make: MakeStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The layer's refusals and its failures, and that each has ended."""
    monkeypatch.setattr(layer_group, "RECONNECT_DELAY", 0)
    store = make()
    await join(store)
    layer = get_channel_layer()
    layer.fails = True
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await append(store)
    layer.fails = False
    await append(store)
    assert [each.levelname for each in caplog.records] == ["ERROR", "WARNING"]
    caplog.clear()
    adding, fails = layer.group_add, 3

    async def fail(*args: Any) -> None:
        nonlocal fails
        fails -= 1
        if fails >= 0:
            raise OSError("the layer is away")
        await adding(*args)

    monkeypatch.setattr(layer, "group_add", fail)
    await layer.send(members()[0], {"type": "test.failure"})
    await until(lambda: len(caplog.records) > 1)
    await append(store)
    assert [each.levelname for each in caplog.records] == ["ERROR", "WARNING"]
