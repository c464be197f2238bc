"""Streams that send server-sent events. Source: streams, section 3."""

from __future__ import annotations

import random

from pushserver_channels import event_stream
from pushserver_channels.counters import counters
from pushserver_channels.event_stream import Frame, build_event
from pushserver_channels.exceptions import (
    PushError,
    ServerStopping,
)
from pushserver_channels.messages import Message, MessageId
from pushserver_channels.positions import build_position
from pushserver_channels.protocol import RETRY_AFTER_RANGE
from pushserver_channels.types import ASGIMessage

from .fault_events import FAULT_EVENTS, find_fault_event
from .stream import Stream
from .stream_channels import Outcome
from .stream_cursor import StreamCursor

_KEEP_ALIVE: ASGIMessage = {
    "type": "http.response.body",
    "body": event_stream.KEEP_ALIVE,
    "more_body": True,
}


class Frames:
    """The frames of one location, each built once for all subscribers.

    Args:
        event: The setting ``event`` of the location.
    """

    def __init__(self, event: str | None) -> None:
        self._event = event
        # The last frame for streams of one channel, and for those of several.
        self._one: tuple[Message | None, ASGIMessage] = (None, {})
        self._several: tuple[Message | None, Frame] = (None, Frame(b"", b""))

    def build(self, message: Message, channel_id: str) -> ASGIMessage:
        """Return the ASGI event of a message, for a stream of one channel."""
        known, sending = self._one
        if message is not known:
            frame = self._build(message, channel_id, False)
            sending = make_part(frame.with_position(str(message.id)))
            self._one = message, sending
        return sending

    def build_for_several(self, message: Message, channel_id: str) -> Frame:
        """Return the frame of a message, for a stream of several channels."""
        known, frame = self._several
        if message is not known:
            frame = self._build(message, channel_id, True)
            self._several = message, frame
        return frame

    def _build(self, message: Message, channel_id: str, names_channel: bool) -> Frame:
        event = None if self._event is None else channel_id
        return event_stream.build_frame(
            message, channel_id, names_channel=names_channel, event=event
        )


def make_part(body: bytes, more: bool = True) -> ASGIMessage:
    """Return the ASGI event that sends a part of the response body."""
    return {"type": "http.response.body", "body": body, "more_body": more}


class EventStream(Stream):
    """A stream of server-sent events.

    Attributes:
        frames: The frames of its location.
    """

    frames: Frames
    counts = counters.transports["eventsource"]

    def build(
        self, cursor: StreamCursor, message: Message, gap: MessageId | None
    ) -> ASGIMessage:
        if gap is None and not self.has_several_channels:
            return self.frames.build(message, cursor.channel_id)
        return make_part(self.build_bytes(cursor, message, gap))

    def build_bytes(
        self, cursor: StreamCursor, message: Message, gap: MessageId | None
    ) -> bytes:
        """Return the frame of a message, after an event for the gap before it."""
        channel_id = cursor.channel_id
        if self.has_several_channels:
            frame = self.frames.build_for_several(message, channel_id)
            body = frame.with_position(build_position(self.ids, cursor.index))
        else:
            body = self.frames.build(message, channel_id)["body"]
        if gap is None:
            return body
        return event_stream.build_gap(channel_id, gap) + body

    def build_fault(self, cursor: StreamCursor, error: PushError) -> ASGIMessage:
        return make_part(self.build_fault_bytes(cursor, error))

    def build_fault_bytes(self, cursor: StreamCursor, error: PushError) -> bytes:
        """Return the server-sent event that reports the fault of a channel."""
        return build_event(find_fault_event(error), channel=cursor.channel_id)

    async def send_end(self, outcome: Outcome) -> None:
        parts = [
            self.build_fault_bytes(each, each.fault)
            for each in self.cursors
            if each.fault is not None and not each.is_fault_sent
        ]
        if isinstance(outcome, ServerStopping):
            parts.append(event_stream.build_retry(event_stream.RETRY_AFTER_STOP))
            parts.append(b"\n")
        elif isinstance(outcome, PushError) and type(outcome) not in FAULT_EVENTS:
            parts.append(build_unavailable())
        await self.send(make_part(b"".join(parts), more=False))

    def keep_alive(self) -> ASGIMessage | None:
        return _KEEP_ALIVE


def build_unavailable() -> bytes:
    """Return the event that tells a client to reconnect after a random time."""
    return event_stream.build_unavailable(random.randint(*RETRY_AFTER_RANGE))
