"""Who is on the channels of a store over a channel layer, over all processes."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Sequence

from pushserver.presence.names import PREFIX
from pushserver.publishers.update import Update
from pushserver_channels.exceptions import (
    ChannelNotFound,
    PushError,
    StoreUnavailable,
)
from pushserver_channels.hub import Hub
from pushserver_channels.messages import Message, MessageId
from pushserver_channels.paced_log import PacedLog
from pushserver_channels.presence.base import (
    INTERVAL,
    LIFETIME,
    NO_CHANGE,
    USER,
    Applied,
    Change,
    PresenceOwner,
    PresenceStore,
    Snapshot,
)
from pushserver_channels.presence.bodies import CONTENT_TYPE
from pushserver_channels.stores.layer import ChannelLayerStore
from pushserver_channels.stores.layer_group import LayerGroup

from .exchange import BEAT, Exchange
from .room import PATIENCE, Room
from .signals import Signals
from .view import Entry, Process, View

logger = logging.getLogger("pushserver.presence")

#: Beats after which a process that starts does not wait for what does not arrive.
MAX_BEATS = 5

#: Seconds for which a read waits for that.
TIMEOUT = 10.0

#: The most messages that are published at the same time: the queues of a layer are
#: short.
CONCURRENCY = 16

#: Seconds after which a message that could not be published is tried again.
RETRY_DELAY = 5.0


class LayerPresence(PresenceStore):
    """Keeps who is on the channels of a hub, whose store is over a channel layer.

    Each process has the members of all. The oldest one publishes the changes; what it
    has not, the next one does after some seconds. Nobody is given a state before the
    process has learned what the others have.

    Args:
        hub: The hub.
        is_alone: Whether there are no other processes.

    Attributes:
        name: The name of this process among them.
    """

    def __init__(self, hub: Hub, *, is_alone: bool = False) -> None:
        assert isinstance(hub.store, ChannelLayerStore), "By the settings of the store."
        self._hub = hub
        self._store = hub.store
        self._rooms: dict[str, Room] = {}
        # The older of two processes has the smaller name.
        self.name = f"{time.time_ns() // 1000:014x}{secrets.token_hex(4)}"
        self._view = View(Process(self.name), self._change)
        self._exchange = Exchange(self._view, self)
        self._signals = Signals(self._view)
        self._owner: PresenceOwner | None = None
        self._group: LayerGroup
        self._applying = ""
        self._beats = 0
        self._settled: asyncio.Future[None] = hub.loop.create_future()
        if is_alone:
            self._settled.set_result(None)
        self._free = asyncio.Semaphore(CONCURRENCY)
        self._failures = PacedLog(
            logger, "%d changes of presence could not be published; the last one: %s"
        )

    def start(self, owner: PresenceOwner) -> None:
        self._owner = owner
        self._store.observe(PREFIX, self._hear)
        self._group = self._store.open_group("presence", self._exchange)
        self._exchange.start(self._group)

    # Changes

    async def apply(
        self, channel_id: str, changes: Sequence[Change], limit: int | None
    ) -> Applied:
        own = self._view.own
        self._applying = channel_id
        if limit is not None:
            self.set_limit(channel_id, limit)
        for member, grace, info in changes:
            entry = own.find(channel_id, member)
            if grace is None:
                new = None
            elif info is not None:
                newest = self._view.find_newest(channel_id, member)
                new = Entry(grace, info, newest.revision + 1 if newest else 0)
            else:
                new = entry._replace(grace=grace) if entry else Entry(grace, "null", 0)
            if new != entry:
                self._view.set(own, channel_id, member, new)
                self._exchange.tell(channel_id, member)
        self._applying = ""
        self._tidy(channel_id)
        return Applied(self._signals.take(channel_id), None, -1)

    def _change(self, channel_id: str, member: str, info: str | None) -> None:
        """Note what is true about a member, over all processes, from now on."""
        room = self._find_room(channel_id)
        is_own = channel_id == self._applying
        if not is_own and not self._settled.done():
            room.change(member, info, None)
            self._tidy(channel_id)
            return
        now = self._hub.loop.time()
        transition = room.change(member, info, now)
        self._schedule(channel_id, room, now + self._view.rank * PATIENCE)
        if (
            transition is not None
            and not self._exchange.has_ended
            and self._signals.add(channel_id, transition, now)
            and not is_own
            and self._owner is not None
        ):
            self._owner.refresh(channel_id)

    # Telling

    def _schedule(self, channel_id: str, room: Room, due: float) -> None:
        """Publish what is due at a time of the event loop, at most once a second."""
        due = max(due, room.told_at + INTERVAL)
        if room.timer is not None:
            if room.timer.when() <= due:
                return
            room.timer.cancel()
        room.timer = self._hub.loop.call_at(due, self._flush, channel_id, room)

    def _schedule_next(self, channel_id: str, room: Room) -> None:
        """Publish the next message when it is due, or forget an empty channel."""
        due = room.find_due(self._view.rank)
        if due is not None:
            self._schedule(channel_id, room, due)
        elif not room.is_empty:
            return
        elif room.told_at + INTERVAL > self._hub.loop.time():
            self._schedule(channel_id, room, room.told_at)
        else:
            self._tidy(channel_id)

    def _flush(self, channel_id: str, room: Room) -> None:
        """Publish what is due."""
        room.timer = None
        if self._group.is_closed or room.is_publishing:
            return
        now = self._hub.loop.time()
        if not self._settled.done() or not self._exchange.is_hearing:
            self._schedule(channel_id, room, now + BEAT)
        elif (room.find_due(self._view.rank) or now + 1) <= now:
            room.is_publishing = True
            self._group.start_task(self._publish(channel_id, room))
        else:
            self._schedule_next(channel_id, room)

    async def _publish(self, channel_id: str, room: Room) -> None:
        """Publish what is due by the time at which it is sent."""
        try:
            async with self._free:
                now = self._hub.loop.time()
                body = room.build_message(now, self._view.rank)
                if body is not None:
                    room.told_at = now
                    await self._hub.publish(
                        Update(
                            PREFIX + channel_id, body, CONTENT_TYPE, expires=LIFETIME
                        )
                    )
        except PushError as error:  # For example there are too many channels.
            room.told_at += RETRY_DELAY
            self._failures.add(error)
        finally:
            room.is_publishing = False
        self._schedule_next(channel_id, room)

    def _hear(self, channel_id: str, message: Message) -> None:
        """Note what a message has told, whichever process has published it."""
        channel_id = channel_id[len(PREFIX) :]
        room = self._find_room(channel_id)
        try:
            room.hear(json.loads(message.body), self._hub.loop.time())
        except (ValueError, LookupError, TypeError, AttributeError):
            logger.error("On %s was a message of somebody else", PREFIX + channel_id)
        self._schedule_next(channel_id, room)

    def _find_room(self, channel_id: str) -> Room:
        room = self._rooms.get(channel_id)
        if room is None:
            room = self._rooms[channel_id] = Room()
        return room

    def _tidy(self, channel_id: str) -> None:
        """Forget a channel on which nobody is, and of which nothing is to be told."""
        room = self._rooms.get(channel_id)
        if (
            room is not None
            and room.timer is None
            and not room.is_publishing
            and room.is_empty
        ):
            del self._rooms[channel_id]

    # The exchange

    @property
    def is_stopping(self) -> bool:
        return self._hub.stopping

    def find_limit(self, channel_id: str) -> int:
        room = self._rooms.get(channel_id)
        return 0 if room is None else room.limit

    def set_limit(self, channel_id: str, limit: int) -> None:
        self._find_room(channel_id).limit = limit

    def note_beat(self) -> None:
        self._beats += 1
        learning = self._exchange.learning
        if not self._settled.done() and (
            learning.knows_all
            or (self._beats >= MAX_BEATS and not learning.is_learning)
        ):
            self._settled.set_result(None)
        if self._settled.done():
            for channel_id in self._signals.note_beat():
                if self._owner is not None:
                    self._owner.refresh(channel_id)

    # Reads

    async def read(self, channel_id: str, *, for_page: bool) -> Snapshot:
        await self._learn()
        if not for_page:
            return (self._rooms.get(channel_id) or Room()).describe()
        # The id is read before the members: what is told after it may be in both.
        newest = await self._find_newest(channel_id)
        room = self._rooms.get(channel_id) or Room()
        return room.describe_for_page(newest, self._hub.loop.time())

    async def _learn(self) -> None:
        """Wait until this process has learned what the others know."""
        if not self._settled.done():
            try:
                await asyncio.wait_for(asyncio.shield(self._settled), TIMEOUT)
            except asyncio.TimeoutError as error:
                raise StoreUnavailable from error

    async def _find_newest(self, channel_id: str) -> MessageId:
        try:
            info = await self._store.info(PREFIX + channel_id)
        except ChannelNotFound:
            return NO_CHANGE
        return max(info.last_message_id, NO_CHANGE)

    async def count(self, channel_id: str) -> int:
        await self._learn()
        room = self._rooms.get(channel_id)
        return 0 if room is None else sum(room.numbers)

    async def has(self, channel_id: str, member: str) -> bool:
        await self._learn()
        room = self._rooms.get(channel_id)
        return room is not None and member[len(USER) :] in room.members
