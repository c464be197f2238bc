"""What all streams share: a connection that hears channels until it ends.

A stream parks in ``receive()``, and what is published is written to it by whoever
publishes: ``send`` is started by hand, and where it ends without waiting there is no
task. Where it waits, because the client reads too slowly, the stream is no longer live:
it only notes that there is more, and reads on from the store when it can send again. So
there is no queue for any client.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from abc import abstractmethod
from asyncio import current_task
from collections.abc import Sequence
from typing import Any

from pushserver.conf import SubscriberLocation
from pushserver_channels.exceptions import (
    ChannelNotFound,
    ClientDisconnected,
    Conflict,
    PushError,
    ServerStopping,
)
from pushserver_channels.hub import Cursor, Heard, Hub, Observer
from pushserver_channels.messages import Message, MessageId
from pushserver_channels.outlet import Rest, find_outlet, start
from pushserver_channels.positions import BEGINNING, Place, build_position
from pushserver_channels.types import ASGIMessage, Receive, Scope, Send

from .base import is_disconnect

logger = logging.getLogger(__name__)

#: Messages of a channel that are read from the store at once.
PAGE = 100

#: Seconds for which a client is waited for that does not read, before its stream ends.
PATIENCE = 5.0

#: The same when the server stops.
PATIENCE_AT_STOP = 1.0

#: Seconds between two looks whether a client reads, where ``send`` does not tell.
LOOK_INTERVAL = 0.05

#: Seconds without a byte that such a client has read, after which its stream ends.
STALLED_AFTER = 1.0

# Looked up once: an enumeration's members are slow to find for each delivery.
_TAKEN, _NOT_MINE = Heard.TAKEN, Heard.NOT_MINE


class Slow(Exception):
    """The client reads more slowly than its stream may lag behind."""


class TimeIsOver(Exception):
    """The stream has lasted as long as one does."""


#: What ends a stream.
Outcome = Exception


class StreamCursor(Cursor):
    """The place of a stream on one channel.

    Attributes:
        stream: The stream.
        index: Which of the stream's channels it is.
        is_behind: Whether the store may have messages that were not sent.
        heard: The first message that was handed on during a look at the store.
        missed: The newest message that could not be sent.
        fault: Why the channel is heard no more, None as long as it is.
        is_told: Whether the client was told why.
    """

    __slots__ = (
        "fault",
        "heard",
        "index",
        "is_behind",
        "is_told",
        "missed",
        "stream",
    )

    def __init__(self, stream: Stream, index: int, channel_id: str) -> None:
        self.stream = stream
        self.index = index
        self.channel_id = channel_id
        self.seen = BEGINNING
        self.scope = stream.scope
        self.observers = stream.observers
        self.task = None
        self.is_behind = True
        self.heard: Message | None = None
        self.missed: MessageId | None = None
        self.fault: PushError | None = None
        self.is_told = False

    def hear(self, message: Message) -> Heard:
        stream = self.stream
        if not stream.is_live:
            return stream.note(self, message)
        if message.id == self.seen:
            return _NOT_MINE
        event = stream.take(self, message)
        if event is not None:
            stream.write(event)
        return _TAKEN

    def end(self, error: PushError | None) -> None:
        self.stream.end_channel(self, error)


class Stream:
    """A connection that hears one channel or several.

    What is sent on it is up to the subclass.

    Args:
        hub: Hands it what is published.
        location: The location.
        observers: Told of each channel that it hears.
        scope: The request's.
        receive: The request's.
        send: The request's.
        channel_ids: The channels.

    Attributes:
        is_live: Whether what is published is sent at once.
        ended: Whether it has ended, or is about to.
        outcome: What ended it.
        task: The task that answers the request.
        ids: The ids of the last message of each of several channels, as they are told.
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
        self.hub = hub
        self.location = location
        self.observers = observers
        self.scope = scope
        self.receive = receive
        self.send = send
        self.outlet = find_outlet(send)
        self.cursors = [
            StreamCursor(self, index, each) for index, each in enumerate(channel_ids)
        ]
        self.is_several = len(channel_ids) > 1
        self.ids: list[str] = []
        self.is_live = False
        self.keeps_heard = True
        self.ended = False
        self.outcome: Outcome | None = None
        self.task: asyncio.Task[Any] | None = None
        self.is_parked = False
        self._behind: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ends_at = 0.0
        self._wrote_at = 0.0
        self._sent = 0
        self._budget = location.stream_budget if self.outlet.never_waits else 0

    # What a subclass says

    @abstractmethod
    def build(
        self, cursor: StreamCursor, message: Message, gap: MessageId | None
    ) -> ASGIMessage | None:
        """Return what sends a message, None if it cannot be sent.

        Args:
            cursor: Of its channel.
            message: The message.
            gap: The newest message that was missed before it, None if none was.
        """

    @abstractmethod
    def build_fault(self, cursor: StreamCursor, error: PushError) -> ASGIMessage | None:
        """Return what tells that one of several channels is heard no more."""

    @abstractmethod
    async def say_goodbye(self, outcome: Outcome) -> None:
        """Send what ends the stream."""

    def keep_alive(self) -> ASGIMessage | None:
        """Return what is sent on a quiet stream, None for nothing."""
        return None

    def is_endless(self) -> bool:
        """Return whether it may last for ever, as the client could not come back."""
        return False

    # How it begins

    async def begin(self, places: Sequence[Place]) -> None:
        """Enter the hub, and look where each channel is.

        Raises :class:`PushError`: if there are several channels, only if there is none
        that can be heard.
        """
        self.task = current_task()
        hub = self.hub
        for cursor in self.cursors:
            cursor.task = self.task
            hub.enter(cursor)
        if hub.stopping:
            raise ServerStopping
        for cursor, place in zip(self.cursors, places, strict=True):
            try:
                await self._find(cursor, place)
            except ChannelNotFound as error:
                hub.leave(cursor)
                cursor.fault = error
        self._check_heard()
        if self.is_several:
            self.ids = [
                str(each.seen) if each.fault is None else "-" for each in self.cursors
            ]

    async def _find(self, cursor: StreamCursor, place: Place) -> None:
        """Find where a cursor is, and wait there with others or in their place."""
        hub, location = self.hub, self.location
        channel_id, create = cursor.channel_id, location.create_on_get
        if isinstance(place, int):
            cursor.seen = await hub.store.position(channel_id, place, create=create)
        else:
            cursor.seen = place
        message = await hub.store.next(channel_id, cursor.seen, create=create)
        if cursor.seen.tag < 0:
            # A date is no id: what is before the next message has one.
            if message is None:
                before = (await hub.store.info(channel_id)).last_message_id
            else:
                before = message.previous or BEGINNING
            cursor.missed = message and message.gap_after(cursor.seen)
            cursor.seen = before

    def admit(self) -> None:
        """Wait beside other subscribers or in their place, as ``concurrency`` says.

        Raises :class:`PushError`, as :meth:`begin` does.
        """
        for cursor in self.heard_cursors():
            try:
                self.hub.admit(cursor, self.location.concurrency)
            except Conflict as error:
                self.hub.leave(cursor)
                cursor.fault = error
        self._check_heard()

    def _check_heard(self) -> None:
        """Raise why no channel is heard, if none is."""
        if self.outcome is not None:
            raise self.outcome
        fault = self.cursors[0].fault
        if fault is not None and not self.heard_cursors():
            raise fault

    def heard_cursors(self) -> list[StreamCursor]:
        """Return the cursors of the channels that are heard."""
        return [each for each in self.cursors if each.fault is None]

    def build_place(self) -> str:
        """Return the position as it is told before anybody spoke."""
        return (
            build_position(self.ids) if self.is_several else str(self.cursors[0].seen)
        )

    async def run(self) -> None:
        """Send what there is and what comes, until the stream ends."""
        loop = self.hub.loop
        self._wrote_at = loop.time()
        duration = self.location.stream_duration
        if duration and not self.is_endless():
            self._ends_at = self._wrote_at + duration * random.uniform(0.8, 1.0)
        self._set_timer()
        self.go_on(None)
        try:
            await self._park()
        finally:
            self.leave()
        if self.outcome is not None and not isinstance(
            self.outcome, ClientDisconnected
        ):
            await self._end(self.outcome)

    async def _park(self) -> None:
        """Wait until the stream ends, or the client leaves."""
        if self.ended:
            return
        self.is_parked = True
        try:
            while not (self.take_event(await self.receive()) or self.ended):
                pass
        except asyncio.CancelledError:
            if not self.ended:
                # Daphne stops; what is sent now still reaches the client.
                self.finish(ServerStopping())
            uncancel()
        finally:
            self.is_parked = False
        self.finish(ClientDisconnected())

    def take_event(self, event: ASGIMessage) -> bool:
        """Take what the client sends; return whether it has left."""
        return bool(event["type"] == "http.disconnect")

    # What is published

    def note(self, cursor: StreamCursor, message: Message) -> Heard:
        """Note that there is a message which is not sent at once."""
        if self.ended:
            return _NOT_MINE
        cursor.is_behind = True
        if self.keeps_heard and cursor.heard is None:
            cursor.heard = message
        return _TAKEN

    def take(self, cursor: StreamCursor, message: Message) -> ASGIMessage | None:
        """Return what sends the next message of a channel, and take it for sent."""
        gap = None
        previous = message.previous
        if previous is not None and previous != cursor.seen:
            gap = message.gap_after(cursor.seen)
        if cursor.missed is not None:
            gap = cursor.missed if gap is None else max(gap, cursor.missed)
        told = None
        if self.is_several:
            told = self.ids[cursor.index]
            self.ids[cursor.index] = str(message.id)
        event = self.build(cursor, message, gap)
        cursor.seen = message.id
        cursor.missed = None
        if event is None:
            cursor.missed = message.id
            if told is not None:
                self.ids[cursor.index] = told
        return event

    def write(self, event: ASGIMessage) -> None:
        """Send something on a live stream; where that waits, it is live no more."""
        try:
            rest = start(self.send(event))
        except Exception as error:
            self.fail(error)
            return
        self._wrote_at = self.hub.loop.time()
        if rest is not None:
            self.go_on(rest)
        elif self._budget and not self._is_within_budget(event):
            self.go_on(None)

    def go_on(self, rest: Rest | None) -> None:
        """Go on in a task that waits for the client, and then reads from the store."""
        self.is_live = False
        self.keeps_heard = rest is None
        self._behind = self.hub.loop.create_task(self._catch_up(rest))

    async def _catch_up(self, rest: Rest | None) -> None:
        try:
            if rest is not None:
                await rest
                self._wrote_at = self.hub.loop.time()
                self.keeps_heard = True
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
        """Do what could not be done while the stream was not live."""

    async def read(self, cursor: StreamCursor) -> None:
        """Send what the store has of a channel, as far as is read at once."""
        cursor.is_behind = False
        if cursor.fault is not None:
            await self.tell_fault(cursor)
            return
        heard, cursor.heard = cursor.heard, None
        store = self.hub.store
        message = await store.next(cursor.channel_id, cursor.seen)
        # A message that was published before the lookup, and is not found, is not kept;
        # or the client has got it from another process.
        is_missing = heard is not None and (message is None or heard.id < message.id)
        if heard is not None and is_missing and await self._is_next(cursor, heard):
            await self.send_message(cursor, heard)
            cursor.is_behind = True
            return
        if message is None:
            return
        cursor.is_behind = True
        await self.send_message(cursor, message)
        for message in await store.page(cursor.channel_id, cursor.seen, PAGE):
            if self.ended or cursor.fault is not None:
                return
            await self.send_message(cursor, message)
        await asyncio.sleep(0)  # Others have their turn.

    async def _is_next(self, cursor: StreamCursor, heard: Message) -> bool:
        """Return whether the client has still to be sent a message.

        Also if the client named a later id, to which the channel has not come yet.
        """
        if heard.id >= cursor.seen:
            return heard.id > cursor.seen
        info = await self.hub.store.info(cursor.channel_id)
        return info.last_message_id < cursor.seen

    async def send_message(self, cursor: StreamCursor, message: Message) -> None:
        if not self.ended:
            await self._send_event(self.take(cursor, message))

    async def _send_event(self, event: ASGIMessage | None) -> None:
        if event is None:
            return
        self.keeps_heard = False
        await self.send(event)
        self.keeps_heard = True
        self._wrote_at = self.hub.loop.time()
        if self._budget and not self._is_within_budget(event):
            await self._wait_for_client()

    # Clients that read slowly, where ``send`` does not wait for them

    def _is_within_budget(self, event: ASGIMessage) -> bool:
        """Return whether a client may be sent more."""
        unsent = self.outlet.count_unsent()
        if unsent is not None:
            return unsent <= self._budget
        self._sent += len(event.get("body") or event.get("bytes") or b"")
        self._sent += len(event.get("text") or "")
        if self._sent <= self._budget:
            return True
        self.finish(Slow())
        return True

    async def _wait_for_client(self) -> None:
        """Wait until a client has read what was sent, or end its stream."""
        if not self._budget:
            return
        unsent = self.outlet.count_unsent() or 0
        looks = 0
        while unsent > self._budget // 2 and not self.ended:
            await asyncio.sleep(LOOK_INTERVAL)
            left = self.outlet.count_unsent() or 0
            looks = looks + 1 if left >= unsent else 0
            unsent = left
            if looks * LOOK_INTERVAL >= STALLED_AFTER:
                self.finish(Slow())

    # How it ends

    def end_channel(self, cursor: StreamCursor, error: PushError | None) -> None:
        """Hear a channel no more; the stream ends with its last one."""
        if error is None or isinstance(error, ServerStopping):
            self.finish(error or TimeIsOver())
            return
        if cursor.fault is not None:
            return
        cursor.fault = error
        cursor.is_behind = True
        self.hub.leave(cursor)
        if not self.heard_cursors():
            self.finish(error)
        elif self.is_live or self._behind is None:
            self.go_on(None)

    async def tell_fault(self, cursor: StreamCursor) -> None:
        """Tell that a channel is heard no more, once."""
        if cursor.fault is not None and not cursor.is_told:
            cursor.is_told = True
            await self._send_event(self.build_fault(cursor, cursor.fault))

    def fail(self, error: BaseException) -> None:
        """End the stream because of what was raised."""
        if isinstance(error, PushError):
            self.finish(error)
            return
        if not is_disconnect(error):
            logger.error("A stream failed", exc_info=error)
        self.finish(ClientDisconnected())

    def finish(self, outcome: Outcome) -> None:
        """End the stream, unless it has ended."""
        if self.ended:
            return
        self.ended = True
        self.is_live = False
        self.outcome = outcome
        if self.is_parked and self.task is not None and self.task is not current_task():
            self.task.cancel()

    def leave(self) -> None:
        """Hear nothing more; twice does no harm."""
        self.ended = True
        self.is_live = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for cursor in self.cursors:
            self.hub.leave(cursor)
        if isinstance(self.outcome, ClientDisconnected) and self._behind is not None:
            self._behind.cancel()

    async def _end(self, outcome: Outcome) -> None:
        """Say what ends the stream, to a client that reads."""
        is_stopping = isinstance(outcome, ServerStopping)
        patience = PATIENCE_AT_STOP if is_stopping else PATIENCE
        goodbye = asyncio.ensure_future(self._end_in_turn(outcome))
        try:
            await asyncio.wait([goodbye], timeout=patience)
            if not goodbye.done():
                if self.outlet.cut():
                    # The server notices it, before the application ends.
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                return
            goodbye.result()
            if is_stopping and self.outlet.count_unsent():
                # A server would wait for the client to read it.
                self.hub.loop.call_later(patience, self.outlet.cut)
        finally:
            for task in (goodbye, self._behind):
                if task is not None:
                    task.cancel()
        if is_stopping:
            # The process ends with the last request, and who was here has left by then.
            for observer in self.observers:
                await observer.drain_before_exit()

    async def _end_in_turn(self, outcome: Outcome) -> None:
        """Say it after what is on its way."""
        if self._behind is not None and not self._behind.done():
            await asyncio.wait([self._behind])
        try:
            await self.say_goodbye(outcome)
        except Exception as error:
            if not is_disconnect(error):
                raise

    # Time

    def _set_timer(self) -> None:
        """Have it looked when something is due."""
        quiet = self.location.keep_alive if self.keep_alive() is not None else 0
        due = [self._wrote_at + quiet] if quiet else []
        if self._ends_at:
            due.append(self._ends_at)
        if due and not self.ended:
            self._timer = self.hub.loop.call_at(min(due), self._look)

    def _look(self) -> None:
        now = self.hub.loop.time()
        if self._ends_at and now >= self._ends_at:
            self.finish(TimeIsOver())
            return
        event = self.keep_alive()
        is_quiet = now >= self._wrote_at + self.location.keep_alive
        if event is not None and is_quiet:
            if self.is_live:
                self.write(event)
            self._wrote_at = now
        self._set_timer()


def uncancel() -> None:
    """Let the running task go on, which was cancelled only because its stream ended."""
    if sys.version_info >= (3, 11):
        task = current_task()
        assert task is not None, "It runs."
        task.uncancel()
