"""The position of a stream on one of its channels, to which the hub delivers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pushserver_channels.client_connection import PendingSend
from pushserver_channels.exceptions import PushError
from pushserver_channels.hub import Cursor, Heard, Hub, Observer
from pushserver_channels.messages import Message, MessageId
from pushserver_channels.positions import BEGINNING
from pushserver_channels.types import ASGIMessage, Scope

# Looked up once, because access to the members of an enumeration is slow.
_TAKEN, _NOT_MINE = Heard.TAKEN, Heard.NOT_MINE


class CursorStream(Protocol):
    """What a cursor needs of its stream, a :class:`.stream.Stream`."""

    hub: Hub
    scope: Scope
    observers: Sequence[Observer]
    is_live: bool

    def advance(self, cursor: StreamCursor, message: Message) -> ASGIMessage | None: ...

    def defer(self, cursor: StreamCursor, message: Message) -> Heard: ...

    def end_channel(self, cursor: StreamCursor, error: PushError | None) -> None: ...

    def write(self, event: ASGIMessage, now: float) -> None: ...

    def start_catch_up(self, pending_send: PendingSend | None) -> None: ...


class StreamCursor(Cursor):
    """The position of a stream on one channel.

    Attributes:
        stream: The stream.
        index: The index of the channel among those of the stream.
        is_behind: Whether the store may have messages that were not sent.
        pending: The first message that the hub delivered while the stream was not
            live.
        missed: The id of the newest message that could not be sent.
        fault: Why the stream is not subscribed to the channel, None if it is.
        is_fault_sent: Whether the fault was sent to the client.
    """

    __slots__ = (
        "fault",
        "index",
        "is_behind",
        "is_fault_sent",
        "missed",
        "pending",
        "stream",
    )

    def __init__(self, stream: CursorStream, index: int, channel_id: str) -> None:
        self.stream = stream
        self.index = index
        self.channel_id = channel_id
        self.seen = BEGINNING
        self.scope = stream.scope
        self.observers = stream.observers
        self.task = None
        self.permission = None
        self.is_behind = True
        self.pending: Message | None = None
        self.missed: MessageId | None = None
        self.fault: PushError | None = None
        self.is_fault_sent = False

    def hear(self, message: Message) -> Heard:
        stream = self.stream
        if not stream.is_live:
            return stream.defer(self, message)
        if message.id == self.seen:
            return _NOT_MINE
        event = stream.advance(self, message)
        if event is not None:
            stream.write(event, stream.hub.delivered_at)
        return _TAKEN

    def end(self, error: PushError | None) -> None:
        self.stream.end_channel(self, error)


class PresenceCursor(StreamCursor):
    """The position of a stream on a presence channel.

    Before its first message, and after messages that it missed, it reads the state.
    """

    __slots__ = ()

    def hear(self, message: Message) -> Heard:
        stream = self.stream
        if not stream.is_live:
            heard = stream.defer(self, message)
            self.pending = None  # It may be older than the state, which comes first.
            return heard
        if message.gap_after(self.seen) is None:
            return super().hear(message)
        self.is_behind = True
        stream.start_catch_up(None)
        return _TAKEN
