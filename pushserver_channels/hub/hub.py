"""The subscribers of one store that wait in this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from pushserver.publishers.update import Update
from pushserver_channels.cancellation import uncancel
from pushserver_channels.counters import counters
from pushserver_channels.deadlines import Deadlines
from pushserver_channels.exceptions import (
    ChannelGone,
    Conflict,
    PushError,
    ServerStopping,
    find_reason,
)
from pushserver_channels.messages import ChannelInfo, Message, MessageId
from pushserver_channels.receipts import Receipts
from pushserver_channels.shutdown import wait_for_end
from pushserver_channels.stores import AppendCancelled, CommonStore, Store

from .cursor import Cursor, Heard

#: Seconds for which a stopping server waits for its last answers to be sent.
STOP_TIMEOUT = 10.0

#: The same for its sockets, which end before the requests.
SOCKET_STOP_TIMEOUT = 1.0

# Looked up once, because access to the members of an Enum is slow.
_NOT_MINE, _LEAVES = Heard.NOT_MINE, Heard.TAKEN_AND_LEAVES


class Hub:
    """Delivers the messages of one store to the cursors of this process.

    A message is read once and delivered to all waiting cursors. Cursors have no queues,
    because the store has the messages that they missed.

    Args:
        store: The store.
        loop: The event loop that serves; all methods are called on it.
        stopping: Whether the server is stopping, so that no cursor is admitted.

    Attributes:
        waiting: The cursors of each channel, in the order in which they entered.
        delivered_at: The time of the event loop at which the last message came. The
            cursors use it, because asking for the time is slow.
        presence: Who is on the channels, as :mod:`pushserver_channels.presence` has
            set it; None if no location of the store has presence.
    """

    def __init__(
        self, store: Store, loop: asyncio.AbstractEventLoop, *, stopping: bool = False
    ) -> None:
        self.store = store
        self.loop = loop
        self.stopping = stopping
        self.delivered_at = 0.0
        self.presence: object | None = None
        self.waiting: dict[str, dict[Cursor, None]] = {}
        # The functions that notify the observers of a cursor that it has left.
        self._observed: dict[Cursor, list[Callable[[], None]]] = {}
        self._receipts = Receipts()
        # Those that answer a publisher although they were cancelled.
        self._finishing: set[asyncio.Task[Any]] = set()
        self._deadlines: dict[
            tuple[float, Callable[[Any], object]], Deadlines[Any]
        ] = {}
        store.attach(self)

    # Channels

    @property
    def recognizes_repeats(self) -> bool:
        """Whether a repeated key is recognized whichever process gets it."""
        return isinstance(self.store, CommonStore) or not self.store.is_shared

    async def publish(
        self,
        update: Update,
        *,
        keep: bool = True,
        create: bool = True,
        key: str | None = None,
    ) -> tuple[bool, ChannelInfo]:
        """Publish a message; return whether a subscriber took it, and channel info.

        The info counts the subscribers that were waiting before the message. Raises as
        :meth:`Store.append` does.

        Args:
            update: The message and its channel.
            keep: Whether subscribers can get it later.
            create: Whether to create the channel if there is none.
            key: Its idempotency key, None for none. If a message of the channel had it
                already, nothing is published, and what that one gave is returned.
        """
        if key is not None:
            return await self._publish_once(update, keep, create, key)
        started = self.loop.time() if counters.is_timing else 0.0
        waiting = self._count(update.channel_id)
        try:
            appended = await self.store.append(update, keep=keep, create=create)
        except PushError as error:
            counters.refused[find_reason(error)] += 1
            raise
        # Not by a call, which would take longer than all else that is counted.
        if appended.delivered:
            counters.delivered += 1
        else:
            counters.accepted += 1
        if started:
            counters.publish_seconds.observe(self.loop.time() - started)
        return appended.delivered, _with_subscribers(appended.info, waiting)

    async def _publish_once(
        self, update: Update, keep: bool, create: bool, key: str
    ) -> tuple[bool, ChannelInfo]:
        """Publish a message unless its key is known; return as :meth:`publish` does."""
        store = self.store
        if not isinstance(store, CommonStore):
            return await self._publish_once_here(update, keep, create, key)
        started = self.loop.time() if counters.is_timing else 0.0
        waiting = self._count(update.channel_id)
        try:
            appended = await store.append_once(
                update, key, waiting, keep=keep, create=create
            )
        except PushError as error:
            counters.refused[find_reason(error)] += 1
            raise
        if started:
            counters.publish_seconds.observe(self.loop.time() - started)
        if appended.is_repeated:
            counters.repeated += 1
            return appended.delivered, appended.info
        if appended.delivered:
            counters.delivered += 1
        else:
            counters.accepted += 1
        return appended.delivered, _with_subscribers(appended.info, waiting)

    async def _publish_once_here(
        self, update: Update, keep: bool, create: bool, key: str
    ) -> tuple[bool, ChannelInfo]:
        """Publish a message unless this process has published one with its key."""
        is_new = False

        async def publish() -> tuple[bool, ChannelInfo]:
            nonlocal is_new
            is_new = True
            return await self.publish(update, keep=keep, create=create)

        receipt = await self._receipts.publish_once(update.channel_id, key, publish)
        if not is_new:
            counters.repeated += 1
        return receipt

    async def finish(
        self, channel_id: str, cancelled: AppendCancelled
    ) -> tuple[bool, ChannelInfo]:
        """Go on with a publish whose task was cancelled, and return its result.

        Daphne cancels all tasks when it stops. The server then waits for this one.
        """
        task = asyncio.current_task()
        assert task is not None, "There is a running task."
        uncancel()
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)
        waiting = self._count(channel_id)
        try:
            appended = await cancelled.finish()
        except PushError as error:
            counters.refused[find_reason(error)] += 1
            raise
        if appended.delivered:
            counters.delivered += 1
        else:
            counters.accepted += 1
        return appended.delivered, _with_subscribers(appended.info, waiting)

    async def next(
        self, channel_id: str, after: MessageId, *, create: bool = True
    ) -> Message | None:
        """Return the next kept message after an id, as :meth:`Store.next` does."""
        return await self.store.next(channel_id, after, create=create)

    async def info(self, channel_id: str) -> ChannelInfo:
        """Return the channel info, as :meth:`Store.info` does."""
        info = await self.store.info(channel_id)
        return _with_subscribers(info, self._count(channel_id))

    async def create(self, channel_id: str) -> ChannelInfo:
        """Create a channel if it does not exist, as :meth:`Store.create` does."""
        info = await self.store.create(channel_id)
        return _with_subscribers(info, self._count(channel_id))

    async def delete(self, channel_id: str) -> ChannelInfo:
        """Delete a channel and return its info, as :meth:`Store.delete` does."""
        waiting = self._count(channel_id)
        info = await self.store.delete(channel_id)
        return _with_subscribers(info, waiting)

    # Called by the store

    def deliver(self, channel_id: str, message: Message) -> bool:
        """Deliver a message to the waiting cursors; return whether one took it."""
        waiting = self.waiting.get(channel_id)
        if waiting is None:
            return False
        self.delivered_at = self.loop.time()
        taken = False
        leaving = []
        for cursor in tuple(waiting):  # hear() may make a cursor leave.
            heard = cursor.hear(message)
            if heard is _LEAVES:
                leaving.append(cursor)
            elif heard is _NOT_MINE:
                continue
            taken = True
        if len(leaving) == len(waiting):
            waiting.clear()
        else:
            for cursor in leaving:
                waiting.pop(cursor, None)
        if not waiting and self.waiting.get(channel_id) is waiting:
            self._remove_channel(channel_id)
        if self._observed:
            for cursor in leaving:
                self._notify_left(cursor)
        if counters.is_timing:
            lag = time.time() - message.id.time
            counters.delivery_lag_seconds.observe(max(lag, 0.0))
        return taken

    def drop(self, channel_id: str) -> None:
        """End all waits on a channel that was deleted."""
        # A new error for each, because one error that is raised in many tasks collects
        # the tracebacks of all.
        for cursor in self._remove_all(channel_id):
            cursor.end(ChannelGone())

    # Subscribers

    def enter(self, cursor: Cursor) -> None:
        """Deliver the channel's messages to a cursor from now on."""
        waiting = self.waiting.get(cursor.channel_id)
        if waiting is None:
            waiting = self.waiting[cursor.channel_id] = {}
            self.store.listen(cursor.channel_id)
        waiting[cursor] = None

    def admit(self, cursor: Cursor, concurrency: str) -> None:
        """Apply the location's ``concurrency`` to a cursor that has entered.

        Args:
            cursor: The new cursor.
            concurrency: ``broadcast`` to wait beside the others, ``last`` to end the
                others, or ``first`` to be refused if there are others.

        Raises :class:`~pushserver_channels.exceptions.Conflict` if it is refused, and
        :class:`~pushserver_channels.exceptions.ServerStopping`.
        """
        if self.stopping:
            raise ServerStopping
        if concurrency != "broadcast":
            waiting = self.waiting.get(cursor.channel_id, ())
            others = [each for each in waiting if each is not cursor]
            if concurrency == "first" and others:
                raise Conflict
            for other in others:
                self.leave(other)
                other.end(Conflict())
        if cursor.observers:
            self._observed[cursor] = [each.join(cursor) for each in cursor.observers]

    def leave(self, cursor: Cursor) -> None:
        """Stop delivering to a cursor. Calling it again does nothing."""
        waiting = self.waiting.get(cursor.channel_id)
        if waiting is not None and cursor in waiting:
            del waiting[cursor]
            if not waiting:
                self._remove_channel(cursor.channel_id)
        if self._observed:
            self._notify_left(cursor)

    def deadlines(
        self, seconds: float, expire: Callable[[Any], object]
    ) -> Deadlines[Any]:
        """Return the one :class:`Deadlines` with this time limit and this callback.

        Args:
            seconds: The time limit in seconds.
            expire: Called with each item that expires.
        """
        deadlines = self._deadlines.get((seconds, expire))
        if deadlines is None:
            deadlines = self._deadlines[seconds, expire] = Deadlines(seconds, expire)
        return deadlines

    def list_held(self) -> list[Cursor]:
        """Return the cursors of subscribers that wait, in the order of their channels.

        Cursors of the push server itself, which have no request, are left out.
        """
        return [
            cursor
            for waiting in self.waiting.values()
            for cursor in waiting
            if cursor.scope
        ]

    def expire(self, cursor: Cursor) -> None:
        """End the wait of a cursor as if its time were up, unless it has left."""
        if cursor in self.waiting.get(cursor.channel_id, ()):
            self.leave(cursor)
            cursor.end(None)

    async def stop(self) -> None:
        """End all waits with 503, and wait until these answers are sent."""
        self.stopping = True
        # granian waits for requests when it stops, but not for sockets.
        await self._end_all(_is_socket, SOCKET_STOP_TIMEOUT)
        await self._end_all(lambda cursor: True, STOP_TIMEOUT)
        await wait_for_end(self._finishing, STOP_TIMEOUT)

    async def _end_all(self, ends: Callable[[Cursor], bool], seconds: float) -> None:
        """End some waits, and wait for a number of seconds until they are answered."""
        cursors = [
            cursor
            for waiting in self.waiting.values()
            for cursor in waiting
            if ends(cursor)
        ]
        for cursor in cursors:
            self.leave(cursor)
            cursor.end(ServerStopping())
        await asyncio.sleep(0)  # Callbacks of futures send their answers now.
        tasks = [each.task for each in cursors if each.task is not None]
        await wait_for_end(tasks, seconds)

    def _remove_all(self, channel_id: str) -> list[Cursor]:
        """Remove all cursors of a channel, and return them."""
        cursors = list(self.waiting.get(channel_id, ()))
        for cursor in cursors:
            self.leave(cursor)
        return cursors

    def _remove_channel(self, channel_id: str) -> None:
        """Remove a channel without cursors, and stop listening to it."""
        del self.waiting[channel_id]
        self.store.unlisten(channel_id)

    def _notify_left(self, cursor: Cursor) -> None:
        """Notify the observers of a cursor that it has stopped waiting."""
        for left in self._observed.pop(cursor, ()):
            left()

    def _count(self, channel_id: str) -> int:
        """Return the number of cursors that wait on a channel."""
        return len(self.waiting.get(channel_id, ()))


def _is_socket(cursor: Cursor) -> bool:
    """Return whether the subscriber uses a WebSocket."""
    return "subprotocols" in cursor.scope


def _with_subscribers(info: ChannelInfo, waiting: int) -> ChannelInfo:
    """Return channel info with the subscribers of this process added."""
    if not waiting:
        return info
    return info._replace(subscribers=info.subscribers + waiting)
