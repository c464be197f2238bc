"""A third-party transport and store: one file and one table entry each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import override_settings

from pushserver.conf import STORE_TYPES, TRANSPORTS, StoreSettings, StoreType
from pushserver.publishers import Update
from pushserver_channels.consumers import SubscriberConsumer
from pushserver_channels.consumers.base import Answer
from pushserver_channels.exceptions import ChannelNotFound, PushError
from pushserver_channels.hub import Cursor, Heard, hubs
from pushserver_channels.messages import ChannelInfo, Message, MessageId
from pushserver_channels.protocol import parse_message_id
from pushserver_channels.routing import get_application
from pushserver_channels.stores import Store
from pushserver_channels.stores.base import Appended, Audience
from pushserver_channels.types import Scope
from tests.waiting import until

from .exchanges import Exchange, Site, django, id_headers, until_held

pytestmark = pytest.mark.usefixtures("nothing_left")

STREAM = [(b"accept", b"application/x-chunks")]


class ChunkedConsumer(SubscriberConsumer, Cursor):
    """Streams the bodies of messages, a chunk each, until the client disconnects.

    A new message only wakes it: it reads on from the store, so it needs no queue.
    """

    @classmethod
    def accepts(cls, scope: Scope) -> bool:
        return STREAM[0] in scope["headers"]

    async def get(self) -> Answer | None:
        hub = self.find_hub()
        self.seen = parse_message_id(self.headers)
        self.task = asyncio.current_task()
        self.news, self.error = asyncio.Event(), None
        hub.enter(self)
        hub.admit(self, self.location.concurrency)
        leaving = asyncio.ensure_future(self.wait_for_leave())
        try:
            await self.send_part("http.response.start", status=200, headers=[])
            while self.error is None:
                self.news.clear()
                page = await hub.store.page(self.channel_id, self.seen, 2)
                for message in page:
                    await self.send_part(body=message.body + b"\n", more_body=True)
                    self.seen = message.id
                if not page:
                    await self.news.wait()
            await self.send_part(body=f"{self.error}".encode())
        finally:
            leaving.cancel()
            hub.leave(self)
        return None

    async def wait_for_leave(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass
        self.end(PushError("It left."))

    async def send_part(self, kind: str = "http.response.body", **event: Any) -> None:
        self.responding = True
        await self.base_send({"type": kind, **event})

    def hear(self, message: Message) -> Heard:
        self.news.set()
        return Heard.TAKEN

    def end(self, error: PushError | None) -> None:
        self.error = error
        self.news.set()


@dataclass(frozen=True)
class ListStoreSettings(StoreSettings):
    """The settings of a store without options of its own."""


class ListStore(Store):
    """Stores all messages in lists."""

    def __init__(self, settings: StoreSettings) -> None:
        self.channels: dict[str, list[Message]] = {}

    def attach(self, audience: Audience) -> None:
        self.audience = audience

    def find(self, channel_id: str, create: bool) -> list[Message]:
        if channel_id not in self.channels and not create:
            raise ChannelNotFound
        return self.channels.setdefault(channel_id, [])

    async def append(
        self, update: Update, *, keep: bool = True, create: bool = True
    ) -> Appended:
        messages = self.find(update.channel_id, create)
        previous = messages[-1].id if messages else None
        message = Message.of(update, MessageId(1, len(messages)), previous)
        messages.append(message)
        delivered = self.audience.deliver(update.channel_id, message)
        return Appended(message, await self.info(update.channel_id), delivered)

    async def next(
        self, channel_id: str, after: MessageId, *, create: bool = True
    ) -> Message | None:
        messages = self.find(channel_id, create)
        return next((each for each in messages if each.id > after), None)

    async def info(self, channel_id: str) -> ChannelInfo:
        messages = self.find(channel_id, False)
        last = messages[-1].id if messages else MessageId(0, 0)
        return ChannelInfo(len(messages), 0, last)

    async def create(self, channel_id: str) -> ChannelInfo:
        self.find(channel_id, True)
        return await self.info(channel_id)

    async def delete(self, channel_id: str) -> ChannelInfo:
        info = await self.info(channel_id)
        del self.channels[channel_id]
        self.audience.drop(channel_id)
        return info

    def listen(self, channel_id: str) -> None:
        pass

    def unlisten(self, channel_id: str) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture(params=["memory", "list"])
def site(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    """A site with the third-party transport, on the memory store and on ListStore."""
    monkeypatch.setitem(TRANSPORTS, "chunks", f"{__name__}.ChunkedConsumer")
    kind = StoreType(ListStoreSettings, f"{__name__}.ListStore")
    monkeypatch.setitem(STORE_TYPES, "list", kind)
    conf = {
        "store": {"type": request.param},
        "locations": [
            {"type": "publisher", "url": r"/send-update/([^/]+)"},
            {"type": "subscriber", "url": r"/updates/([^/]+)", "create_on_get": True},
        ],
    }
    with override_settings(PUSH_SERVER=conf):
        yield Site(get_application(django))


async def read(exchange: Exchange) -> bytes:
    """Return the next part of the body of a stream."""
    event = await exchange.receive_output(10)
    if event["type"] == "http.response.start":
        assert event["status"] == 200
        event = await exchange.receive_output(10)
    body: bytes = event["body"]
    return body


async def test_stream_and_poll_on_one_url(site: Site) -> None:
    """A stream and a poll on one URL get the same message; the stream goes on."""
    await site.post("a", b"1")
    first = await site.ask("GET", "/updates/a")
    stream = site.exchange("GET", "/updates/a", STREAM).start()
    assert await read(stream) == b"1\n"
    poll = site.exchange("GET", "/updates/a", id_headers(first)).start()
    await until_held("a", 2)
    for number in range(2, 6):
        assert (await site.post("a", b"%d" % number)).status == 201
    assert (await poll.answer()).body == b"2"
    assert [await read(stream) for _ in range(4)] == [b"2\n", b"3\n", b"4\n", b"5\n"]
    assert len(hubs.get("default").waiting["a"]) == 1
    stream.disconnect()
    await stream.end()
    assert not hubs.get("default").waiting


async def test_stream_ends_when_its_channel_is_deleted(site: Site) -> None:
    """A stream ends with an error when its channel is deleted."""
    stream = site.exchange("GET", "/updates/a", STREAM).start()
    await until_held("a")
    assert (await site.ask("DELETE", "/send-update/a")).status == 200
    assert await read(stream) == b"The channel was deleted."
    await stream.end()


async def test_stream_ends_when_the_server_stops(site: Site) -> None:
    """A server that stops also ends streams, and waits for them."""
    stream = site.exchange("GET", "/updates/a", STREAM).start()
    await until_held("a")
    await hubs.get("default").stop()
    assert await read(stream) == b"The server is shutting down."
    await until(stream.future.done)
