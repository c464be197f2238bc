"""The subscribers of one store in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pushserver.publishers.update import Update
from pushserver_channels.deadlines import Deadlines
from pushserver_channels.exceptions import ChannelGone, Conflict, ServerStopping
from pushserver_channels.messages import ChannelInfo, Message, MessageId
from pushserver_channels.shutdown import wait_for_end
from pushserver_channels.stores import Store

from .cursor import Cursor, Heard

#: Seconds for which a server that stops waits for its last answers.
STOP_TIMEOUT = 10.0

# Looked up once: an enumeration's members are slow to find for each delivery.
_NOT_MINE, _LEAVES = Heard.NOT_MINE, Heard.TAKEN_AND_LEAVES


class Hub:
    """Hands the messages of one store to the cursors of this process.

    A message is read once and handed to all who wait; no cursor has a queue, because
    what it missed is in the store.

    Args:
        store: Keeps the messages.
        loop: The event loop that serves; all methods are called on it.
        stopping: Whether the server is stopping already, so that nobody is admitted.

    Attributes:
        waiting: The cursors on each channel, in the order in which they entered.
    """

    def __init__(
        self, store: Store, loop: asyncio.AbstractEventLoop, *, stopping: bool = False
    ) -> None:
        self.store = store
        self.loop = loop
        self.stopping = stopping
        self.waiting: dict[str, dict[Cursor, None]] = {}
        # What tells the observers of a cursor that it has left.
        self._observed: dict[Cursor, list[Callable[[], None]]] = {}
        self._deadlines: dict[
            tuple[float, Callable[[Any], object]], Deadlines[Any]
        ] = {}
        store.attach(self)

    # Channels

    async def publish(
        self, update: Update, *, keep: bool = True, create: bool = True
    ) -> tuple[bool, ChannelInfo]:
        """Publish a message; return whether a subscriber was sent it, and the channel.

        The info counts those who waited before. Raises as :meth:`Store.append` does.
        """
        waiting = self._count(update.channel_id)
        appended = await self.store.append(update, keep=keep, create=create)
        return appended.delivered, _with_subscribers(appended.info, waiting)

    async def next(
        self, channel_id: str, after: MessageId, *, create: bool = True
    ) -> Message | None:
        """Return the next kept message after an id: :meth:`Store.next`."""
        return await self.store.next(channel_id, after, create=create)

    async def info(self, channel_id: str) -> ChannelInfo:
        """Return what is known of a channel: :meth:`Store.info`."""
        info = await self.store.info(channel_id)
        return _with_subscribers(info, self._count(channel_id))

    async def create(self, channel_id: str) -> ChannelInfo:
        """Create a channel if there is none: :meth:`Store.create`."""
        info = await self.store.create(channel_id)
        return _with_subscribers(info, self._count(channel_id))

    async def delete(self, channel_id: str) -> ChannelInfo:
        """Drop a channel, and return what was known of it: :meth:`Store.delete`."""
        waiting = self._count(channel_id)
        info = await self.store.delete(channel_id)
        return _with_subscribers(info, waiting)

    # What the store says

    def deliver(self, channel_id: str, message: Message) -> bool:
        """Hand a message to all who wait on its channel; return whether one took it."""
        waiting = self.waiting.get(channel_id)
        if waiting is None:
            return False
        taken = False
        leaving = []
        for cursor in tuple(waiting):  # A cursor may leave while it hears.
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
            self._forget(channel_id)
        if self._observed:
            for cursor in leaving:
                self._notify_left(cursor)
        return taken

    def drop(self, channel_id: str) -> None:
        """End all waits on a channel that was deleted."""
        # To each an error of its own: one raised in many tasks piles up tracebacks.
        for cursor in self._remove_all(channel_id):
            cursor.end(ChannelGone())

    # Who waits

    def enter(self, cursor: Cursor) -> None:
        """Hand to a cursor what is published on its channel from now on."""
        waiting = self.waiting.get(cursor.channel_id)
        if waiting is None:
            waiting = self.waiting[cursor.channel_id] = {}
            self.store.listen(cursor.channel_id)
        waiting[cursor] = None

    def admit(self, cursor: Cursor, concurrency: str) -> None:
        """Let a cursor that entered wait beside others, or instead of them.

        Args:
            cursor: The newcomer.
            concurrency: ``broadcast``, ``last`` or ``first``: the location's setting.

        Raises :class:`~pushserver_channels.exceptions.Conflict` where an older cursor
        has precedence, and :class:`~pushserver_channels.exceptions.ServerStopping`.
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
        """Hand nothing more to a cursor; twice does no harm."""
        waiting = self.waiting.get(cursor.channel_id)
        if waiting is not None and cursor in waiting:
            del waiting[cursor]
            if not waiting:
                self._forget(cursor.channel_id)
        if self._observed:
            self._notify_left(cursor)

    def deadlines(
        self, seconds: float, expire: Callable[[Any], object]
    ) -> Deadlines[Any]:
        """Return the time limits of a length in seconds that call ``expire``."""
        deadlines = self._deadlines.get((seconds, expire))
        if deadlines is None:
            deadlines = self._deadlines[seconds, expire] = Deadlines(seconds, expire)
        return deadlines

    async def stop(self) -> None:
        """End all waits with 503, and return when they have been answered."""
        self.stopping = True
        tasks = []
        for channel_id in list(self.waiting):
            for cursor in self._remove_all(channel_id):
                cursor.end(ServerStopping())
                if cursor.task is not None:
                    tasks.append(cursor.task)
        await asyncio.sleep(0)  # Who waits for a future alone answers now.
        await wait_for_end(tasks, STOP_TIMEOUT)

    def _remove_all(self, channel_id: str) -> list[Cursor]:
        """Return who waits on a channel, and hand them nothing more."""
        cursors = list(self.waiting.get(channel_id, ()))
        for cursor in cursors:
            self.leave(cursor)
        return cursors

    def _forget(self, channel_id: str) -> None:
        """Let go of a channel on which nobody waits any more."""
        del self.waiting[channel_id]
        self.store.unlisten(channel_id)

    def _notify_left(self, cursor: Cursor) -> None:
        for left in self._observed.pop(cursor, ()):
            left()

    def _count(self, channel_id: str) -> int:
        return len(self.waiting.get(channel_id, ()))


def _with_subscribers(info: ChannelInfo, waiting: int) -> ChannelInfo:
    """Return channel info that also counts who waits in this process."""
    if not waiting:
        return info
    return info._replace(subscribers=info.subscribers + waiting)
