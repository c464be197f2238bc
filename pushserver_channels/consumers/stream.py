"""The base class of streams: connections that subscribe to channels until they close.

The task of a stream waits in ``receive()``. The hub delivers each message by a call of
``StreamCursor.hear``, which runs ``send`` without a task if ``send`` does not wait. If
it waits, because the client reads too slowly, the stream is no longer live: messages
are only marked as unsent, and a task reads them from the store once the client has
read. So no client has a queue of messages.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from asyncio import current_task
from collections.abc import Sequence

from pushserver.conf import SubscriberLocation
from pushserver_channels.cancellation import uncancel
from pushserver_channels.client_connection import (
    PendingSend,
    find_connection,
    start_send,
)
from pushserver_channels.counters import counters
from pushserver_channels.exceptions import (
    ChannelGone,
    ChannelNotFound,
    ClientDisconnected,
    PushError,
    ServerStopping,
    find_reason,
)
from pushserver_channels.hub import Heard, Hub, Observer
from pushserver_channels.log_details import describe_request
from pushserver_channels.messages import Message
from pushserver_channels.types import ASGIMessage, Receive, Scope, Send

from .base import is_disconnect
from .stream_channels import Outcome, StreamChannels
from .stream_closing import close_connection
from .stream_cursor import StreamCursor
from .stream_timer import StreamTimer
from .write_buffer import SlowClient, WriteBuffer

logger = logging.getLogger("pushserver.server")

#: The most messages of a channel that are read from the store at once.
PAGE_SIZE = 100

#: Seconds in which the end of a stream must be sent, before the connection is aborted.
CLOSE_TIMEOUT = 5.0

#: The same for a server that stops.
CLOSE_TIMEOUT_AT_STOP = 1.0


class StreamExpired(Exception):
    """The maximum duration of the stream is over."""

    reason = "duration"


class Stream(StreamChannels):
    """A connection that is subscribed to one channel or several.

    Subclasses build what is sent on it.

    Args:
        hub: Delivers the messages.
        location: The location.
        observers: Notified when it is admitted to a channel and when it leaves.
        scope: The scope of the request.
        receive: The ``receive`` of the request.
        send: The ``send`` of the request.
        channel_ids: The channels.

    Attributes:
        connection: The connection to the client.
        keeps_pending: Whether a message that cannot be sent now is kept until the next
            read from the store.
        ended: Whether it has ended or is about to.
        is_receiving: Whether the task waits in ``receive()``.
    """

    def __init__(
        self,
        hub: Hub,
        location: SubscriberLocation,
        observers: Sequence[Observer],
        scope: Scope,
        receive: Receive,
        send: Send,
        channel_ids: Sequence[str],
    ) -> None:
        super().__init__(hub, location, observers, scope, channel_ids)
        self.receive = receive
        self.send = send
        self.connection = find_connection(send)
        self.keeps_pending = True
        self.ended = False
        self.is_receiving = False
        self._catch_up_task: asyncio.Task[None] | None = None
        self._timer: StreamTimer | None = None
        self._buffer = WriteBuffer(self.connection, location.stream_budget)
        self._is_limited = self._buffer.is_limited

    # To be implemented by subclasses

    @abstractmethod
    def build_fault(self, cursor: StreamCursor, error: PushError) -> ASGIMessage | None:
        """Return the ASGI event that reports the fault of a channel, None for none."""

    @abstractmethod
    async def send_end(self, outcome: Outcome) -> None:
        """Send the end of the stream."""

    def keep_alive(self) -> ASGIMessage | None:
        """Return the ASGI event that keeps an idle stream open, None for none."""
        return None

    def is_endless(self) -> bool:
        """Return whether its duration is unlimited, as its client cannot resume it."""
        return False

    # The task

    async def run(self) -> None:
        """Send the stored messages, then new ones, until the stream ends."""
        location = self.location
        self._timer = StreamTimer(
            self.hub.loop,
            location.keep_alive if self.keep_alive() is not None else 0,
            0 if self.is_endless() else location.stream_duration,
            self._send_keep_alive,
            self._expire,
        )
        self.start_catch_up(None)
        try:
            await self._receive_until_end()
        finally:
            self.leave()
        counters.disconnects[find_reason(self.outcome)] += 1
        if self.outcome is not None and not isinstance(
            self.outcome, ClientDisconnected
        ):
            await self._close(self.outcome)

    async def _receive_until_end(self) -> None:
        """Receive events until the stream ends or the client disconnects."""
        if self.ended:
            return
        self.is_receiving = True
        try:
            while not (self.handle_event(await self.receive()) or self.ended):
                pass
        except asyncio.CancelledError:
            if not self.ended:
                # Daphne cancels its applications when it stops; it still sends the end.
                self.finish(ServerStopping())
            uncancel()
        finally:
            self.is_receiving = False
        self.finish(ClientDisconnected())

    def handle_event(self, event: ASGIMessage) -> bool:
        """Handle an event of ``receive()``; return whether to receive no more."""
        return bool(event["type"] == "http.disconnect")

    # Messages

    def defer(self, cursor: StreamCursor, message: Message) -> Heard:
        """Mark a message of the hub as unsent, because the stream is not live."""
        if self.ended:
            return Heard.NOT_MINE
        cursor.is_behind = True
        if self.keeps_pending and cursor.pending is None:
            cursor.pending = message
        return Heard.TAKEN

    def write(self, event: ASGIMessage, now: float) -> None:
        """Send an event on a live stream; it is no longer live if that waits.

        Args:
            event: The event.
            now: The time of the event loop.
        """
        try:
            pending_send = start_send(self.send(event))
        except Exception as error:
            self.fail(error)
            return
        timer = self._timer
        if timer is not None:
            timer.wrote_at = now
        if pending_send is not None:
            self.start_catch_up(pending_send)
        elif self._is_limited and not self._has_room(event):
            self.start_catch_up(None)

    def _record_write(self) -> None:
        if self._timer is not None:
            self._timer.wrote_at = self.hub.loop.time()

    def _has_room(self, event: ASGIMessage) -> bool:
        """Return whether more may be sent; end the stream of a slow client."""
        try:
            return self._buffer.has_room(event)
        except SlowClient as error:
            self.finish(error)
            return True

    def start_catch_up(self, pending_send: PendingSend | None) -> None:
        """Start the task that sends unsent messages, after which the stream is live.

        Args:
            pending_send: A ``send`` that has to end before, None for none.
        """
        self.is_live = False
        self.keeps_pending = pending_send is None
        self._catch_up_task = self.hub.loop.create_task(self._catch_up(pending_send))

    async def _catch_up(self, pending_send: PendingSend | None) -> None:
        try:
            if pending_send is not None:
                await pending_send
                self._record_write()
                self.keeps_pending = True
            await self._wait_for_client()
            while not self.ended:
                cursor = next((each for each in self.cursors if each.is_behind), None)
                if cursor is None:
                    self.is_live = True
                    self.catch_up_ended()
                    return
                await self.read(cursor)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.fail(error)

    def catch_up_ended(self) -> None:
        """Send what waited until the stream is live. Called when it becomes live."""

    async def read(self, cursor: StreamCursor) -> None:
        """Send unsent messages of a channel from the store, at most one page."""
        cursor.is_behind = False
        if cursor.fault is not None:
            await self.send_fault(cursor)
            return
        try:
            await self._read_page(cursor)
        except ChannelNotFound:
            # It was deleted, or Redis was emptied.
            self.end_channel(cursor, ChannelGone())

    async def _read_page(self, cursor: StreamCursor) -> None:
        """Send the messages. Raises :class:`ChannelNotFound`."""
        pending, cursor.pending = cursor.pending, None
        reads, create = self.reads, self.location.create_on_get
        channel_id = cursor.channel_id
        message = await reads.next(channel_id, cursor.seen, create=create)
        # A message that was delivered before the query but is not found was not stored,
        # or the client has received it from another process.
        is_missing = pending is not None and (
            message is None or pending.id < message.id
        )
        if (
            pending is not None
            and is_missing
            and await self._must_send(cursor, pending)
        ):
            await self.send_message(cursor, pending)
            cursor.is_behind = True
            return
        if message is None:
            return
        cursor.is_behind = True
        await self.send_message(cursor, message)
        if self.ended or cursor.fault is not None:
            return  # A lookup could create a channel that was deleted.
        page = await reads.page(channel_id, cursor.seen, PAGE_SIZE, create=create)
        for message in page:
            if self.ended or cursor.fault is not None:
                return
            await self.send_message(cursor, message)
        await asyncio.sleep(0)  # Let other tasks run.

    async def _must_send(self, cursor: StreamCursor, message: Message) -> bool:
        """Return whether a message must still be sent to the client.

        It must be if the client named an id that is newer than the channel's last one.
        """
        if message.id >= cursor.seen:
            return message.id > cursor.seen
        info = await self.hub.store.info(cursor.channel_id)
        return info.last_message_id < cursor.seen

    async def send_message(self, cursor: StreamCursor, message: Message) -> None:
        """Send a message of the store, unless the stream or its channel has ended."""
        if not self.ended and cursor.fault is None:
            await self._send_event(self.advance(cursor, message))

    async def _send_event(self, event: ASGIMessage | None) -> None:
        if event is None:
            return
        self.keeps_pending = False
        await self.send(event)
        self.keeps_pending = True
        self._record_write()
        if self._is_limited and not self._has_room(event):
            await self._wait_for_client()

    async def _wait_for_client(self) -> None:
        """Wait until the client has read enough; end the stream of a slow client."""
        try:
            await self._buffer.wait_until_read(lambda: self.ended)
        except SlowClient as error:
            self.finish(error)

    # End

    def end_channel(self, cursor: StreamCursor, error: PushError | None) -> None:
        """Unsubscribe from a channel; end the stream if it was the last one."""
        if error is None or isinstance(error, ServerStopping):
            self.finish(error or StreamExpired())
            return
        if cursor.fault is not None:
            return
        cursor.fault = error
        cursor.is_behind = True
        self.hub.leave(cursor)
        if not self.active_cursors():
            self.finish(error)
        elif self.is_live:
            # Otherwise the task that sends unsent messages sends the fault, too; before
            # the stream runs there is none, because its head is not sent yet.
            self.start_catch_up(None)

    async def send_fault(self, cursor: StreamCursor) -> None:
        """Send the fault of a channel, once."""
        if cursor.fault is not None and not cursor.is_fault_sent:
            cursor.is_fault_sent = True
            await self._send_event(self.build_fault(cursor, cursor.fault))

    def fail(self, error: BaseException) -> None:
        """End the stream because of an exception."""
        if isinstance(error, PushError):
            self.finish(error)
            return
        if not is_disconnect(error):
            extra = describe_request(
                self.scope,
                [each.channel_id for each in self.cursors],
                self.counts.transport,
                find_reason(error),
            )
            logger.error("A stream failed", exc_info=error, extra=extra)
        self.finish(ClientDisconnected())

    def finish(self, outcome: Outcome) -> None:
        """End the stream for a reason, unless it has ended already."""
        if self.ended:
            return
        self.ended = True
        self.is_live = False
        self.outcome = outcome
        if (
            self.is_receiving
            and self.task is not None
            and self.task is not current_task()
        ):
            self.task.cancel()

    def leave(self) -> None:
        """Unsubscribe from all channels. It may be called twice."""
        self.ended = True
        self.is_live = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for cursor in self.cursors:
            self.hub.leave(cursor)
        if (
            isinstance(self.outcome, ClientDisconnected)
            and self._catch_up_task is not None
        ):
            self._catch_up_task.cancel()

    async def _close(self, outcome: Outcome) -> None:
        """Send the end of the stream; abort the connection if that takes too long."""
        is_stopping = isinstance(outcome, ServerStopping)
        try:
            await close_connection(
                self.connection,
                self._send_end_in_order(outcome),
                CLOSE_TIMEOUT_AT_STOP if is_stopping else CLOSE_TIMEOUT,
                waits_until_read=not is_stopping,
            )
        finally:
            if self._catch_up_task is not None:
                self._catch_up_task.cancel()
        if is_stopping:
            # The process exits after the last request; the observers finish before.
            for observer in self.observers:
                await observer.drain_before_exit()

    async def _send_end_in_order(self, outcome: Outcome) -> None:
        """Send the end of the stream once the send in progress has ended."""
        if self._catch_up_task is not None and not self._catch_up_task.done():
            await asyncio.wait([self._catch_up_task])
        try:
            await self.send_end(outcome)
        except Exception as error:
            if not is_disconnect(error):
                raise

    # Timer

    def _send_keep_alive(self) -> None:
        """Send a keep-alive, unless messages are about to be sent."""
        event = self.keep_alive()
        if event is not None and self.is_live:
            self.write(event, self.hub.loop.time())

    def _expire(self) -> None:
        """End the stream because its duration is over."""
        self.finish(StreamExpired())
