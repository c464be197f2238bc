"""Collect messages of one channel or several for one response."""

from __future__ import annotations

import asyncio
from typing import Any

from pushserver_channels.cancellation import uncancel
from pushserver_channels.exceptions import ClientDisconnected, PushError
from pushserver_channels.hub import Heard
from pushserver_channels.messages import Message
from pushserver_channels.types import ASGIMessage

from .events import EventStream
from .long_poll import LONGEST_WAIT
from .stream import Stream, StreamExpired
from .stream_channels import Outcome
from .stream_cursor import StreamCursor

#: The most messages of a batch.
MAX_MESSAGES = 100

#: The most bytes of the frames of a batch, unless it is one message.
MAX_SIZE = 1_048_576


class Batch(Stream):
    """A stream whose messages are collected for one response.

    Attributes:
        max_messages: The most messages that are collected.
        ends_with_fault: Whether the wait ends if the stream is unsubscribed from one
            of several channels.
        events: The ASGI events of the collected messages.
        size: The bytes of these messages.
        is_full: Whether no more are collected.
    """

    max_messages = MAX_MESSAGES
    ends_with_fault = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.events: list[ASGIMessage] = []
        self.size = 0
        self.is_full = False
        self._is_waiting = False
        self._is_expired = False

    async def wait_for_events(
        self, timeout: float, *, waits: bool = True
    ) -> list[ASGIMessage]:
        """Return the ASGI events of messages, as soon as there is one.

        Args:
            timeout: Seconds after which an empty list is returned, 0 for one hour.
            waits: Whether to wait if there is no message yet.

        Raises :class:`~pushserver_channels.exceptions.PushError`.
        """
        await self._collect()
        if not self.events and waits:
            self.admit()
            timer = self.hub.loop.call_later(timeout or LONGEST_WAIT, self._expire)
            try:
                await self._wait_for_first()
            finally:
                timer.cancel()
        is_over = self.outcome is None or isinstance(self.outcome, StreamExpired)
        if self.outcome is not None and not (is_over or self.events):
            raise self.outcome
        return self.events

    async def _wait_for_first(self) -> None:
        """Wait until there is a message, or the wait has to end."""
        faults = self._count_faults()
        while not (self.events or self.ended or self._is_expired):
            if self.ends_with_fault and self._count_faults() > faults:
                return
            await self._wait()
            await self._collect()

    def _count_faults(self) -> int:
        return sum(each.fault is not None for each in self.cursors)

    def _expire(self) -> None:
        self._is_expired = True
        self._wake()

    async def _wait(self) -> None:
        """Wait until the store may have a message; raise if the client disconnects."""
        if any(each.is_behind for each in self.active_cursors()):
            return
        self._is_waiting = True
        try:
            while (await self.receive())["type"] != "http.disconnect":
                pass
        except asyncio.CancelledError:
            if self._is_waiting:
                raise
            uncancel()
            return
        finally:
            self._is_waiting = False
        raise ClientDisconnected

    def _wake(self) -> None:
        """End the wait in ``receive()``."""
        if self._is_waiting and self.task is not None:
            self._is_waiting = False
            self.task.cancel()

    async def _collect(self) -> None:
        """Collect messages of the store and of the hub, until the batch is full."""
        while not (self.is_full or self.ended):
            behind = [each for each in self.active_cursors() if each.is_behind]
            if not behind:
                break
            for cursor in behind:
                await self.read(cursor)

    async def send_message(self, cursor: StreamCursor, message: Message) -> None:
        if self.is_full or self.ended or cursor.fault is not None:
            return
        before = cursor.seen, cursor.missed, list(self.ids)
        event = self.advance(cursor, message)
        if event is None:
            return
        size = len(event["body"])
        if self.events and self.size + size > MAX_SIZE:
            # Undo this: the message will be the first one of the next batch.
            cursor.seen, cursor.missed, self.ids = before
            self.counts.deliveries -= 1
            self.counts.sent_bytes -= len(message.body)
            self.is_full = True
            return
        self.events.append(event)
        self.size += size
        self.is_full = len(self.events) >= self.max_messages or self.size >= MAX_SIZE

    async def send_end(self, outcome: Outcome) -> None:
        """Send nothing, because the response is sent by the consumer."""

    def defer(self, cursor: StreamCursor, message: Message) -> Heard:
        heard = super().defer(cursor, message)
        self._wake()
        return heard

    def finish(self, outcome: Outcome) -> None:
        super().finish(outcome)
        self._wake()

    def end_channel(self, cursor: StreamCursor, error: PushError | None) -> None:
        super().end_channel(cursor, error)
        self._wake()


class EventBatch(Batch, EventStream):
    """Collects server-sent events."""

    counts = EventStream.counts
