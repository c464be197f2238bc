"""The channels of a stream, and its position on each.

A stream enters the hub for all of its channels before it asks the store where it begins
on each, so that it misses nothing that is published meanwhile.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from asyncio import current_task
from collections.abc import Sequence
from typing import Any, ClassVar

from pushserver.conf import SubscriberLocation
from pushserver.presence.names import is_presence_channel
from pushserver_channels.access.guard import Decision
from pushserver_channels.counters import TransportCounts, counters
from pushserver_channels.exceptions import (
    ChannelNotFound,
    ClientDisconnected,
    Conflict,
    PushError,
    ServerStopping,
)
from pushserver_channels.hub import Hub, Observer
from pushserver_channels.messages import Message, MessageId
from pushserver_channels.positions import StartPosition, build_position
from pushserver_channels.types import ASGIMessage, Scope

from .positions import find_last_seen
from .stream_cursor import CursorStream, PresenceCursor, StreamCursor
from .subscriber import find_reads

#: The reason why a stream ends.
Outcome = Exception


class StreamChannels(CursorStream):
    """The channels to which a connection is subscribed: the base class of streams.

    Args:
        hub: Delivers the messages.
        location: The location.
        observers: Notified when it is admitted to a channel and when it leaves.
        scope: The scope of the request.
        channel_ids: The channels.

    Attributes:
        reads: Reads the messages of the channels.
        cursors: The position on each channel.
        decisions: What the guard has decided about each channel, empty if everybody may
            listen.
        has_several_channels: Whether there are several channels.
        ids: The id of the last message of each of several channels, as in a position.
        is_live: Whether messages are sent when the hub delivers them.
        outcome: Why the stream ends, None until then.
        task: The task that handles the request.
        counts: Counts the messages that are sent.
    """

    counts: ClassVar[TransportCounts] = counters.transports["poll"]

    def __init__(
        self,
        hub: Hub,
        location: SubscriberLocation,
        observers: Sequence[Observer],
        scope: Scope,
        channel_ids: Sequence[str],
    ) -> None:
        self.hub = hub
        self.reads = find_reads(hub, location)
        self.location = location
        self.observers = observers
        self.scope = scope
        self.cursors = [
            (
                PresenceCursor
                if location.presence and is_presence_channel(each)
                else StreamCursor
            )(self, index, each)
            for index, each in enumerate(channel_ids)
        ]
        self.decisions: Sequence[Decision] = ()
        self.has_several_channels = len(channel_ids) > 1
        self.ids: list[str] = []
        self.is_live = False
        self.outcome: Outcome | None = None
        self.task: asyncio.Task[Any] | None = None

    @abstractmethod
    def build(
        self, cursor: StreamCursor, message: Message, gap: MessageId | None
    ) -> ASGIMessage | None:
        """Return the ASGI event that sends a message, None if it cannot be sent.

        Args:
            cursor: The cursor of its channel.
            message: The message.
            gap: The id of the newest message that was missed before it, None if none
                was.
        """

    def advance(self, cursor: StreamCursor, message: Message) -> ASGIMessage | None:
        """Return the ASGI event of a message, and move the cursor to the message."""
        gap = None
        previous = message.previous
        if previous is not None and previous != cursor.seen:
            gap = message.gap_after(cursor.seen)
        if cursor.missed is not None:
            gap = cursor.missed if gap is None else max(gap, cursor.missed)
        previous_id = None
        if self.has_several_channels:
            previous_id = self.ids[cursor.index]
            self.ids[cursor.index] = str(message.id)
        if gap is not None:
            counters.gaps += 1
        event = self.build(cursor, message, gap)
        cursor.seen = message.id
        cursor.missed = None
        if event is not None:
            counts = self.counts
            counts.deliveries += 1
            counts.sent_bytes += len(message.body)
        else:
            cursor.missed = message.id
            if previous_id is not None:
                self.ids[cursor.index] = previous_id
        return event

    # The start

    async def begin(self, positions: Sequence[StartPosition]) -> None:
        """Enter the hub, and find the position on each channel.

        Args:
            positions: Where the client begins on each channel.

        Raises :class:`PushError`. If there are several channels, a missing one is an
        error only if all are missing.
        """
        self.task = current_task()
        hub = self.hub
        self._apply_decisions()
        for cursor in self.active_cursors():
            cursor.task = self.task
            hub.enter(cursor)
        if hub.stopping:
            raise ServerStopping
        for cursor, start in zip(self.cursors, positions, strict=True):
            if cursor.fault is not None:
                continue  # What was refused is not looked up.
            try:
                cursor.seen, cursor.missed = await find_last_seen(
                    self.reads,
                    cursor.channel_id,
                    start,
                    create=self.location.create_on_get,
                )
            except ChannelNotFound as error:
                hub.leave(cursor)
                cursor.fault = error
        self._check_active()
        if self.has_several_channels:
            self.ids = [
                str(each.seen) if each.fault is None else "-" for each in self.cursors
            ]

    def _apply_decisions(self) -> None:
        """Give each cursor its permission, or the reason why it was refused."""
        for cursor, decision in zip(self.cursors, self.decisions, strict=False):
            if isinstance(decision, PushError):
                cursor.fault = decision
            else:
                cursor.permission = decision

    def admit(self) -> None:
        """Have the hub admit the cursors, as far as ``concurrency`` allows it.

        Raises :class:`PushError`, as :meth:`begin` does.
        """
        for cursor in self.active_cursors():
            try:
                self.hub.admit(cursor, self.location.concurrency)
            except Conflict as error:
                self.hub.leave(cursor)
                cursor.fault = error
        self._check_active()

    def _check_active(self) -> None:
        """Raise the reason if the stream has ended or has no channel left."""
        if isinstance(self.outcome, PushError | ClientDisconnected):
            raise self.outcome
        if self.outcome is not None:
            # Its time is up before it has begun, because the server is about to stop.
            raise ServerStopping
        faults = [each.fault for each in self.cursors if each.fault is not None]
        if len(faults) == len(self.cursors):
            # The client can do something about a 401, and a 403 does not tell whether
            # the channel exists.
            raise min(faults, key=lambda fault: fault.status)

    def active_cursors(self) -> list[StreamCursor]:
        """Return the cursors of the channels without a fault."""
        return [each for each in self.cursors if each.fault is None]

    def build_start_position(self) -> str:
        """Return the position before the first message, as it is sent to the client."""
        return (
            build_position(self.ids)
            if self.has_several_channels
            else str(self.cursors[0].seen)
        )
