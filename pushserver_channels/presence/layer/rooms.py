"""The channels on which somebody is, and the messages that tell it."""

from __future__ import annotations

import json
import logging
from collections import deque
from typing import Protocol

from pushserver.presence.names import PREFIX
from pushserver.publishers.update import Update
from pushserver_channels.exceptions import PushError
from pushserver_channels.hub import Hub
from pushserver_channels.messages import Message
from pushserver_channels.paced_log import PacedLog
from pushserver_channels.presence.base import INTERVAL, LIFETIME
from pushserver_channels.presence.bodies import CONTENT_TYPE
from pushserver_channels.stores.layer_group import LayerGroup

from .exchange import BEAT
from .room import Room

logger = logging.getLogger("pushserver.presence")

#: The most messages that are published at the same time: the queues of a layer are
#: short.
CONCURRENCY = 16

#: Seconds after which a message that could not be published is tried again.
RETRY_DELAY = 5.0


class RoomsOwner(Protocol):
    """What uses rooms."""

    @property
    def rank(self) -> int:
        """How many older processes there are."""

    @property
    def may_publish(self) -> bool:
        """Whether this process knows enough to publish."""


class Rooms:
    """The channels on which somebody is, whose changes are published when they are due.

    Args:
        hub: The hub of the channels.
        owner: What uses the rooms.
    """

    def __init__(self, hub: Hub, owner: RoomsOwner) -> None:
        self._hub = hub
        self._owner = owner
        self._group: LayerGroup
        self._rooms: dict[str, Room] = {}
        # The channels of which a message is due, and the tasks that publish them.
        self._due: deque[tuple[str, Room]] = deque()
        self._publishers = 0
        self._failures = PacedLog(
            logger, "%d changes of presence could not be published; the last one: %s"
        )

    def start(self, group: LayerGroup) -> None:
        """Start to publish, until a group is closed."""
        self._group = group

    def get(self, channel_id: str) -> Room:
        """Return a channel; if nobody is there, it is not kept."""
        return self._rooms.get(channel_id) or Room()

    def find(self, channel_id: str) -> Room:
        """Return a channel, which is kept."""
        room = self._rooms.get(channel_id)
        if room is None:
            room = self._rooms[channel_id] = Room()
        return room

    def schedule(self, channel_id: str, room: Room, due: float) -> None:
        """Publish what is due at a time of the event loop, at most once a second."""
        due = max(due, room.told_at + INTERVAL)
        if room.timer is not None:
            if room.timer.when() <= due:
                return
            room.timer.cancel()
        room.timer = self._hub.loop.call_at(due, self._flush, channel_id, room)

    def _schedule_next(self, channel_id: str, room: Room) -> None:
        """Publish the next message when it is due, or forget an empty channel."""
        due = room.find_due(self._owner.rank)
        if due is not None:
            self.schedule(channel_id, room, due)
        elif not room.is_empty:
            return
        elif room.told_at + INTERVAL > self._hub.loop.time():
            self.schedule(channel_id, room, room.told_at)
        else:
            self.tidy(channel_id)

    def _flush(self, channel_id: str, room: Room) -> None:
        """Publish what is due."""
        room.timer = None
        if self._group.is_closed or room.is_publishing:
            return
        now = self._hub.loop.time()
        if not self._owner.may_publish:
            self.schedule(channel_id, room, now + BEAT)
        elif (room.find_due(self._owner.rank) or now + 1) <= now:
            room.is_publishing = True
            self._due.append((channel_id, room))
            if self._publishers < CONCURRENCY:
                self._publishers += 1
                self._group.start_task(self._publish_all())
        else:
            self._schedule_next(channel_id, room)

    async def _publish_all(self) -> None:
        """Publish all messages that are due."""
        try:
            while self._due:
                channel_id, room = self._due.popleft()
                try:
                    await self._publish(channel_id, room)
                finally:
                    room.is_publishing = False
                self._schedule_next(channel_id, room)
        finally:
            self._publishers -= 1

    async def _publish(self, channel_id: str, room: Room) -> None:
        """Publish what is due on a channel by the time at which it is sent."""
        now = self._hub.loop.time()
        body = room.build_message(now, self._owner.rank)
        if body is None:
            return
        room.told_at = now
        channel_id = PREFIX + channel_id
        update = Update(channel_id, body, CONTENT_TYPE, expires=LIFETIME)
        try:
            await self._hub.publish(update)
        except PushError as error:  # For example there are too many channels.
            room.told_at += RETRY_DELAY
            extra = {"channel_id": channel_id, "reason": error.reason}
            self._failures.add(error, extra=extra)

    def hear(self, channel_id: str, message: Message) -> None:
        """Note what a message has told, whichever process has published it."""
        channel_id = channel_id[len(PREFIX) :]
        room = self.find(channel_id)
        try:
            room.hear(json.loads(message.body), self._hub.loop.time())
        except (ValueError, LookupError, TypeError, AttributeError):
            text = "On %s was a message of somebody else"
            extra = {"channel_id": PREFIX + channel_id, "reason": "invalid"}
            logger.error(text, PREFIX + channel_id, extra=extra)
        self._schedule_next(channel_id, room)

    def tidy(self, channel_id: str) -> None:
        """Forget a channel on which nobody is, and of which nothing is to be told."""
        room = self._rooms.get(channel_id)
        if (
            room is not None
            and room.timer is None
            and not room.is_publishing
            and room.is_empty
        ):
            del self._rooms[channel_id]
