"""Server-sent events. Source: streams, section 3."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TypeVar

from pushserver.conf import Location, SubscriberLocation
from pushserver_channels import event_stream
from pushserver_channels.access import Guard
from pushserver_channels.cors import CrossOrigin
from pushserver_channels.exceptions import PushError, ServerStopping
from pushserver_channels.held import HeldLimits
from pushserver_channels.hub import Observer
from pushserver_channels.positions import StartPosition, read_parameter
from pushserver_channels.protocol import Headers
from pushserver_channels.sandbox import NOSNIFF
from pushserver_channels.types import ASGIMessage, Scope

from .base import Answer, ChooseHeaders, MakeConsumer, Site, is_disconnect
from .batch import EventBatch
from .events import EventStream, Frames, build_unavailable, make_part
from .positions import find_start_positions
from .subscriber import SubscriberConsumer

StreamKind = TypeVar("StreamKind", bound=EventStream)

_TYPE = b"text/event-stream"

HEAD: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
    (b"incremental", b"?1"),
    NOSNIFF,
]


def accepts_events(scope: Scope) -> bool:
    """Return whether a request asks for server-sent events."""
    if scope["type"] != "http" or scope["method"] != "GET":
        return False
    for name, value in scope["headers"]:
        if name == b"accept" and (_TYPE in value or _TYPE in value.lower()):
            return True
    return False


class EventSourceConsumer(SubscriberConsumer):
    """Answers with server-sent events.

    Args:
        location: The location.
        choose_headers: Returns the headers of every answer, given an ``Origin``.
        observers: Notified of the subscribers.
        guard: Decides who may listen, None if everybody may.
        limits: Counts what subscribers hold.
        frames: The frames of the location.
        channel_id: The channel id in the URL, or several.
        fault: Why it is invalid, None if it is valid.
    """

    counts = EventStream.counts

    @classmethod
    def accepts(cls, scope: Scope) -> bool:
        return accepts_events(scope)

    @classmethod
    def prepare(cls, location: Location, site: Site) -> MakeConsumer:
        assert isinstance(location, SubscriberLocation), "By conf.locations."
        headers = CrossOrigin.of(location, site.headers).headers
        observers, guard = site.find_observers(location), site.find_guard(location)
        frames = Frames(location.event)
        limits = site.limits
        return partial(cls, location, headers, observers, guard, limits, frames)

    def __init__(
        self,
        location: SubscriberLocation,
        choose_headers: ChooseHeaders,
        observers: Sequence[Observer],
        guard: Guard | None,
        limits: HeldLimits,
        frames: Frames,
        channel_id: str | tuple[str, ...],
        fault: str | None,
    ) -> None:
        first = channel_id if isinstance(channel_id, str) else channel_id[0]
        super().__init__(
            location, choose_headers, observers, guard, limits, True, first, fault
        )
        self.channel_ids = (first,) if isinstance(channel_id, str) else channel_id
        self.frames = frames

    async def get(self) -> Answer | None:
        """Send a stream until it ends, or answer with a batch."""
        await self.discard_body()
        query = self.scope["query_string"]
        positions = find_start_positions(
            self.headers, query, self.location, self.channel_ids
        )
        if read_parameter(query, "batch") == "1":
            return await self.answer_batch(positions)
        stream = self.make_stream(EventStream)
        try:
            await stream.begin(positions)
            stream.admit()
            self.accept()
            self.headers = {}
            self.responding = True
            await self.base_send(self.build_head())
            head = event_stream.build_head(stream.build_start_position())
            await self.base_send(make_part(head))
            await stream.run()
        finally:
            stream.leave()
        return None

    async def answer_batch(self, positions: Sequence[StartPosition]) -> Answer | None:
        """Answer with all stored messages, or wait until there is one."""
        batch = self.make_stream(EventBatch)
        try:
            await batch.begin(positions)
            self.accept()
            events = await batch.wait_for_events(self.location.timeout)
        finally:
            batch.leave()
        body = b"".join(event["body"] for event in events)
        if not events:
            body = event_stream.build_position_frame(batch.build_start_position())
        body += b"".join(
            batch.build_fault_bytes(each, each.fault)
            for each in batch.cursors
            if each.fault is not None
        )
        length = (b"content-length", b"%d" % len(body))
        return self.build_answer(200, [*HEAD, length], body)

    async def send_error(self, error: PushError) -> None:
        """Answer with an error; a temporary one is an event with status 200.

        After any other status an ``EventSource`` does not reconnect.
        """
        is_temporary = error.status >= 500 or error.retry_after
        if self.scope["method"] != "GET" or not is_temporary:
            await super().send_error(error)
            return
        closing = await self.begin_close(error) if error.closes else []
        self.responding = True
        try:
            head = self.build_head()
            await self.base_send({**head, "headers": [*head["headers"], *closing]})
            await self.base_send(make_part(build_unavailable(), more=False))
        except (OSError, RuntimeError) as failure:
            if not is_disconnect(failure):
                raise
        if isinstance(error, ServerStopping):
            for observer in self.observers:
                await observer.drain_before_exit()

    def build_head(self) -> ASGIMessage:
        """Return the ASGI event that starts the response."""
        return {
            "type": "http.response.start",
            "status": 200,
            "headers": [*HEAD, *self.common_headers],
        }

    def make_stream(self, kind: type[StreamKind]) -> StreamKind:
        """Return a stream of a class, for the channels of the URL."""
        stream = kind(
            self.find_hub(),
            self.location,
            self.observers,
            self.scope,
            self.receive,
            self.base_send,
            self.channel_ids,
        )
        stream.decisions = self.decisions
        stream.frames = self.frames
        return stream
