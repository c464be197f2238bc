"""Subscribers of a hub that need no HTTP request."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pushserver.conf import SubscriberLocation, get_settings
from pushserver_channels.consumers import LongPollConsumer
from pushserver_channels.consumers.base import Answer
from pushserver_channels.exceptions import PushError
from pushserver_channels.held import HeldLimits
from pushserver_channels.hub import Cursor, Heard, Hub
from pushserver_channels.messages import START, Message, MessageId
from pushserver_channels.protocol import LAST_SECOND, build_message_id


class OneMessage(Cursor):
    """A subscription to a channel that ends with the first message.

    Attributes:
        heard: Resolves with the message, with None if none came, or with an error.
    """

    def __init__(self, channel_id: str) -> None:
        self.channel_id = channel_id
        self.seen = START
        self.scope = {}
        self.observers = ()
        self.task = asyncio.current_task()
        self.heard: asyncio.Future[Message | None]
        self.heard = asyncio.get_running_loop().create_future()

    @property
    def ended(self) -> bool:
        return self.heard.done()

    def hear(self, message: Message) -> Heard:
        if self.heard.done():
            return Heard.NOT_MINE
        self.heard.set_result(message)
        return Heard.TAKEN_AND_LEAVES

    def end(self, error: PushError | None) -> None:
        if self.heard.done():
            return
        if error is None:
            self.heard.set_result(None)
        else:
            self.heard.set_exception(error)
            self.heard.exception()  # The result may never be awaited.


@contextmanager
def subscribe(hub: Hub, channel_id: str) -> Iterator[OneMessage]:
    """Subscribe to a channel during a block."""
    cursor = OneMessage(channel_id)
    hub.enter(cursor)
    try:
        yield cursor
    finally:
        hub.leave(cursor)


class LongPoll(LongPollConsumer):
    """A long poll at a given hub.

    Attributes:
        message: The message that answered the poll, or None.
    """

    message: Message | None = None

    def __init__(
        self, hub: Hub, channel_id: str, concurrency: str = "broadcast"
    ) -> None:
        location = SubscriberLocation(
            type="subscriber",
            url=get_settings().locations[0].url,
            create_on_get=True,
            concurrency=concurrency,
        )
        limits = HeldLimits(get_settings())
        super().__init__(
            location, lambda origin: [], (), None, limits, False, channel_id, None
        )
        self._hub = hub

    def find_hub(self) -> Hub:
        return self._hub

    def build_message(
        self, message: Message | None, seen: MessageId, otherwise: int
    ) -> Answer:
        self.message = message
        return super().build_message(message, seen, otherwise)


async def long_poll(hub: Hub, channel_id: str, after: MessageId) -> Message | None:
    """Return the message that answers a long poll."""

    async def receive() -> dict[str, Any]:
        return await asyncio.get_running_loop().create_future()

    async def send(message: dict[str, Any]) -> None:
        pass

    consumer = LongPoll(hub, channel_id)
    seen = build_message_id(MessageId(min(after.time, LAST_SECOND), after.tag))
    names = {b"last-modified": b"if-modified-since", b"etag": b"if-none-match"}
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "headers": [(names[name], value) for name, value in seen],
    }
    await consumer(scope, receive, send)
    return consumer.message
