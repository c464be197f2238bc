"""Streams in this process: requests that are answered part by part."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.test import override_settings

from pushserver_channels.hub import hubs
from pushserver_channels.routing import get_application
from pushserver_channels.types import Scope
from tests.waiting import until

from .exchanges import (
    Answer,
    Exchange,
    Headers,
    Site,
    django,
    http_scope,
    until_held,
)

EVENTS = (b"accept", b"text/event-stream")


@dataclass
class Event:
    """An event as a browser's ``EventSource`` reads it, with the other fields."""

    data: str
    id: str
    name: str = "message"
    fields: dict[str, str] = field(default_factory=dict)


class EventReader:
    """Reads a stream as a browser does, and keeps what it has read.

    Attributes:
        text: All that has come.
        events: The events that were dispatched.
        id: The last event id.
        retry: The time that ``retry`` has set.
        comments: The comments.
    """

    def __init__(self) -> None:
        self.text = ""
        self.events: list[Event] = []
        self.id = ""
        self.retry: int | None = None
        self.comments: list[str] = []
        self._rest = ""

    def feed(self, data: bytes) -> None:
        self.text += data.decode()
        *blocks, self._rest = (self._rest + data.decode()).split("\n\n")
        for block in blocks:
            self._read(block)

    def _read(self, block: str) -> None:
        data: list[str] = []
        name, fields = "message", {}
        for line in filter(None, block.split("\n")):
            key, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not key:
                self.comments.append(value)
            elif key == "data":
                data.append(value)
            elif key == "event":
                name = value
            elif key == "id":
                self.id = value
            elif key == "retry":
                self.retry = int(value)
            else:
                fields[key] = value
        if data:
            self.events.append(Event("\n".join(data), self.id, name, fields))

    @property
    def bodies(self) -> list[str]:
        """The data of the events without a name."""
        return [each.data for each in self.events if each.name == "message"]


class EventExchange(Exchange, EventReader):
    """A stream of server-sent events under way.

    Attributes:
        status: The status, once it has come.
        headers: The headers, once they have come.
        has_ended: Whether the answer has come to its end.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        Exchange.__init__(self, *args, **options)
        EventReader.__init__(self)
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.has_ended = False

    def read(self) -> None:
        """Read what has come by now."""
        while not self.output_queue.empty():
            event = self.output_queue.get_nowait()
            if event["type"] == "http.response.start":
                self.status, self.headers = event["status"], event["headers"]
            else:
                self.has_ended = not event.get("more_body", False)
                self.feed(event["body"])

    async def until(self, count: int) -> list[Event]:
        """Wait until so many events have come, and return them."""

        def have_come() -> bool:
            self.read()
            assert len(self.events) >= count or not self.future.done(), self.text
            return len(self.events) >= count

        await until(have_come)
        return self.events

    async def until_ended(self) -> None:
        """Wait for the end of the answer."""
        await self.end()
        self.read()
        assert self.has_ended


@contextmanager
def serving(**defaults: Any) -> Iterator[Callable[..., Site]]:
    """Give a function that serves both kinds of locations with given options.

    Args:
        defaults: Options of the subscriber location, unless they are given.
    """
    changes = ExitStack()

    def serve(
        store: dict[str, Any] | None = None,
        publisher: dict[str, Any] | None = None,
        *,
        application: Any = django,
        **options: Any,
    ) -> Site:
        conf = build_settings(store, publisher, **{**defaults, **options})
        changes.enter_context(override_settings(PUSH_SERVER=conf))
        return Site(get_application(application))

    with changes:
        yield serve


async def open_stream(
    site: Site,
    path: str,
    headers: Headers = (),
    accept: Sequence[tuple[bytes, bytes]] = (EVENTS,),
    **scope: Any,
) -> EventExchange:
    """Return a stream once its head has come."""
    stream = EventExchange(site.application, "GET", path, [*accept, *headers], **scope)
    stream.start()

    def has_come() -> bool:
        stream.read()
        return bool(stream.text) or stream.future.done()

    await until(has_come)
    return stream


def websocket_scope(
    path: str, headers: Headers = (), subprotocols: Sequence[str] = ()
) -> Scope:
    """Return the scope of a WebSocket, as Daphne makes it."""
    scope = http_scope("GET", path, headers)
    del scope["method"], scope["scheme"], scope["http_version"]
    return {**scope, "type": "websocket", "subprotocols": list(subprotocols)}


class SocketExchange(Exchange):
    """A WebSocket under way.

    Attributes:
        accepted: The event that accepted it, None if it was not.
        messages: What has come: texts and bytes.
        closed: The event that closed it, None if it was not.
    """

    def __init__(
        self,
        site: Site,
        path: str,
        headers: Headers = (),
        subprotocols: Sequence[str] = (),
    ) -> None:
        from asgiref.testing import ApplicationCommunicator

        scope = websocket_scope(path, headers, subprotocols)
        ApplicationCommunicator.__init__(self, site.application, scope)
        self.accepted: dict[str, Any] | None = None
        self.messages: list[str | bytes] = []
        self.closed: dict[str, Any] | None = None
        self.input_queue.put_nowait({"type": "websocket.connect"})

    def read(self) -> None:
        """Read what has come by now."""
        while not self.output_queue.empty():
            event = self.output_queue.get_nowait()
            if event["type"] == "websocket.accept":
                self.accepted = event
            elif event["type"] == "websocket.close":
                self.closed = event
            else:
                text = event.get("text")
                self.messages.append(event["bytes"] if text is None else text)

    def say(self, text: str | None = None, data: bytes | None = None) -> None:
        """Send a message to the server."""
        event = {"type": "websocket.receive", "text": text, "bytes": data}
        self.input_queue.put_nowait(event)

    def disconnect(self) -> None:
        self.input_queue.put_nowait({"type": "websocket.disconnect", "code": 1001})

    async def until(self, count: int) -> list[str | bytes]:
        """Wait until so many messages have come, and return them."""

        def have_come() -> bool:
            self.read()
            assert len(self.messages) >= count or not self.future.done(), self.closed
            return len(self.messages) >= count

        await until(have_come)
        return self.messages

    async def until_closed(self) -> int | None:
        """Wait for the end, and return the close code."""
        await self.end()
        self.read()
        return None if self.closed is None else self.closed.get("code")


async def open_socket(
    site: Site,
    path: str,
    headers: Headers = (),
    subprotocols: Sequence[str] = (),
    held: int = 1,
) -> SocketExchange:
    """Return a socket once it is held."""
    socket = SocketExchange(site, path, headers, subprotocols)
    assert socket.future
    await until_held(path.partition("?")[0].rpartition("/")[2], held)
    await asyncio.sleep(0)
    socket.read()
    return socket


def build_settings(
    store: dict[str, Any] | None = None,
    publisher: dict[str, Any] | None = None,
    **subscriber: Any,
) -> dict[str, Any]:
    """Return the settings of a publisher and a subscriber location, with options."""
    return {
        "store": {"type": "memory", **(store or {})},
        "locations": [
            {"type": "publisher", "url": "/send-update/([^/]+)", **(publisher or {})},
            {
                "type": "subscriber",
                "url": "/updates/([^/]+)",
                **{"create_on_get": True, **subscriber},
            },
        ],
    }


def name(answer: Answer) -> str:
    """Return the id of the last message in the channel info."""
    match = re.search(rb"last message id: (\d+:\d+)", answer.body)
    assert match is not None
    return match[1].decode()


async def until_live(channel_id: str) -> None:
    """Wait until all streams on a channel are live."""

    def are_live() -> bool:
        waiting = hubs.get("default").waiting.get(channel_id, {})
        return bool(waiting) and all(cursor.stream.is_live for cursor in waiting)

    await until(are_live)


async def leave(*streams: EventExchange) -> None:
    for stream in streams:
        stream.disconnect()
        await stream.end()
