"""A channel layer that fails as a test demands, and what its stores have got."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer, get_channel_layer

from pushserver.publishers import Update
from pushserver_channels.messages import Message, MessageId
from pushserver_channels.stores.layer import ChannelLayerStore
from tests.stores.conftest import (
    LAYERS,
    audience_of,
)
from tests.waiting import until

MakeStore = Callable[..., ChannelLayerStore]

FUTURE = MessageId(2**40, 0)

#: Makes stores on each kind of layer in turn.
every_layer = pytest.mark.parametrize("make", LAYERS, indirect=True)


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
