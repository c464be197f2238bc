"""Read presence channels: their state, then the changes.

A presence channel is an ordinary one, whose messages are the changes. But a client that
has no position, or for which the store has not all changes any more, is given the state
first. Its id is that of the newest change, so the next ones follow it. Changes that are
in the state already may follow, too, which does no harm.

If no change is known, the id has no time, and its tag is the second of the state. So it
can be told whether a change is the first one since.
"""

from __future__ import annotations

import asyncio

from pushserver.presence.names import is_presence_channel
from pushserver_channels.messages import ChannelInfo, Message, MessageId
from pushserver_channels.stores import Store

from .base import LIFETIME
from .bodies import CONTENT_TYPE, build_state
from .presence import Presence

#: The position of a client to which the state is sent.
BEFORE_STATE = MessageId(0, 0)

#: Members from which on a state is kept for :data:`KEPT_FOR` seconds. All watchers come
#: back at once after a restart.
LARGE = 50
KEPT_FOR = 1.0


class States:
    """Reads the states of channels, for all who ask at once.

    Args:
        presence: Who is on the channels.
    """

    def __init__(self, presence: Presence) -> None:
        self._presence = presence
        # The reads that are running, and the last ones of large channels.
        self._reads: dict[str, asyncio.Task[Message]] = {}

    async def read(
        self, channel_id: str, newer_than: MessageId | None = None
    ) -> Message:
        """Return the message with the state of a presence channel.

        Args:
            channel_id: The presence channel.
            newer_than: The id of the last change that a client has which missed others;
                None if it has none.

        Raises :class:`~pushserver_channels.exceptions.StoreUnavailable`.
        """
        known = self._reads.get(channel_id)
        if known is not None:
            message = await asyncio.shield(known)
            if newer_than is None or message.id > newer_than:
                return message
        loop = asyncio.get_running_loop()
        task = self._reads[channel_id] = loop.create_task(self._read(channel_id))
        # Perhaps whoever waits for it leaves, and asyncio would log an error.
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            message = await asyncio.shield(task)
        except BaseException:
            self._forget(channel_id, task)
            raise
        if message.body.count(b'"info":') >= LARGE:
            loop.call_later(KEPT_FOR, self._forget, channel_id, task)
        else:
            self._forget(channel_id, task)
        return message

    async def _read(self, channel_id: str) -> Message:
        subject = channel_id.partition(":")[2]
        snapshot = await self._presence.store.read(subject, for_page=True)
        return Message(snapshot.newest, build_state(snapshot), CONTENT_TYPE, None)

    def _forget(self, channel_id: str, task: asyncio.Task[Message]) -> None:
        if self._reads.get(channel_id) is task:
            del self._reads[channel_id]


class PresenceReads:
    """Reads the channels of a store, of which some may be presence channels.

    It has the methods of a store by which subscribers read.

    Args:
        store: The store.
        states: The states of the presence channels.
    """

    def __init__(self, store: Store, states: States) -> None:
        self._store = store
        self._states = states

    async def next(
        self, channel_id: str, after: MessageId, *, create: bool = True
    ) -> Message | None:
        """Return the next message after an id, as :meth:`Store.next` does."""
        if not is_presence_channel(channel_id):
            return await self._store.next(channel_id, after, create=create)
        if not _is_id(after):
            return await self._states.read(channel_id)
        if self._store.has_nothing(channel_id, after):
            return None
        message = await self._store.next(channel_id, after)
        if message is None:
            newest = (await self._store.info(channel_id)).last_message_id
            is_newest = newest == after or (newest.time == 0 == after.time)
            return None if is_newest else await self._states.read(channel_id, after)
        if misses_changes(message, after):
            return await self._states.read(channel_id, after)
        return message

    async def page(
        self, channel_id: str, after: MessageId, limit: int, *, create: bool = True
    ) -> list[Message]:
        """Return the next messages after an id, as :meth:`Store.page` does."""
        if not is_presence_channel(channel_id):
            return await self._store.page(channel_id, after, limit, create=create)
        messages = await self._store.page(channel_id, after, limit)
        if messages and misses_changes(messages[0], after):
            return [await self._states.read(channel_id, after)]
        return messages

    async def position(
        self, channel_id: str, newest: int, *, create: bool = True
    ) -> MessageId:
        """Return where a client begins, as :meth:`Store.position` does.

        On a presence channel it is the position to which the state is sent.
        """
        if not is_presence_channel(channel_id):
            return await self._store.position(channel_id, newest, create=create)
        return BEFORE_STATE

    async def info(self, channel_id: str) -> ChannelInfo:
        """Return the channel info, as :meth:`Store.info` does."""
        return await self._store.info(channel_id)

    def has_nothing(self, channel_id: str, after: MessageId) -> bool:
        """Return whether :meth:`next` is known to return None."""
        if is_presence_channel(channel_id) and not _is_id(after):
            return False
        return self._store.has_nothing(channel_id, after)


def misses_changes(message: Message, after: MessageId) -> bool:
    """Return whether a client lacks changes before a message of a presence channel.

    Args:
        message: The message. Before a state nothing is missed.
        after: The id of the last message that the client has, maybe a state.
    """
    if after.time > 0 or message.previous is None:
        return message.gap_after(after) is not None
    # The client has a state, before which no change was known. An earlier change is one
    # of another time. After a long time it is not known what was told meanwhile.
    read_at = after.tag
    return message.previous.time >= read_at or message.id.time - read_at > LIFETIME


def _is_id(position: MessageId) -> bool:
    """Return whether a position is one after a state, and no time alone."""
    return position.tag > 0 if position.time == 0 else position.tag >= 0
