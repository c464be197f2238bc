"""Who is on the channels of a store in the memory of this process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from pushserver.presence.names import PREFIX
from pushserver.publishers.update import Update
from pushserver_channels.exceptions import PushError, find_reason
from pushserver_channels.hub import Hub

from .base import (
    INTERVAL,
    LIFETIME,
    NAMED_AGAIN,
    NO_CHANGE,
    USER,
    Applied,
    Change,
    PresenceStore,
    Snapshot,
    Transition,
    find_newest,
)
from .bodies import CONTENT_TYPE, build_counts, build_diff, build_state

logger = logging.getLogger("pushserver.presence")


class _Room:
    """Who is on one channel, and what of that was not told yet.

    Attributes:
        members: What is told about each named member, as JSON, by the key of the user.
        others: The anonymous members.
        limit: The most members that are named, 0 for no limit.
        joins: The members whose arrival or info has to be told.
        leaves: Those whose departure has to be told, with what was told about them.
        told: The numbers of members that were told last.
        is_counted: Whether only numbers are told.
        told_at: When the last message was published, by the event loop's clock.
        timer: Publishes the next one.
    """

    def __init__(self) -> None:
        self.members: dict[str, str] = {}
        self.others: set[str] = set()
        self.limit = 0
        self.joins: dict[str, None] = {}
        self.leaves: dict[str, str] = {}
        self.new: set[str] = set()
        self.told = (0, 0)
        self.is_counted = False
        self.told_at = float("-inf")
        self.timer: asyncio.TimerHandle | None = None

    @property
    def numbers(self) -> tuple[int, int]:
        return len(self.members), len(self.others)

    @property
    def is_counted_now(self) -> bool:
        """Whether only numbers should be told."""
        share = NAMED_AGAIN if self.is_counted else 1
        return 0 < self.limit * share < len(self.members)

    def apply(self, change: Change) -> Transition | None:
        """Apply a change; return the transition if it is one."""
        member, grace, info = change
        if not member.startswith(USER):
            if grace is None:
                self.others.discard(member)
            else:
                self.others.add(member)
            return None
        key = member[len(USER) :]
        before = self.members.get(key)
        if grace is None:
            if before is None:
                return None
            del self.members[key]
            self.joins.pop(key, None)
            if key in self.new:
                self.new.discard(key)  # Nobody was told of it.
            else:
                self.leaves[key] = before
            return Transition(member, False, before)
        if info is None or info == before:
            if before is not None:
                return None
            info = "null"
        self.members[key] = info
        self.joins[key] = None
        if before is not None:
            return None
        if self.leaves.pop(key, None) is None:
            self.new.add(key)
        return Transition(member, True, info)

    def build_message(self) -> bytes | None:
        """Return the message that tells the changes, None if there is nothing to tell.

        After that they count as told.
        """
        body = None
        was_counted, self.is_counted = self.is_counted, self.is_counted_now
        others = len(self.others)
        if self.is_counted:
            if not was_counted or self.told != self.numbers:
                body = build_counts("diff", len(self.members), others)
        elif was_counted:
            snapshot = Snapshot(NO_CHANGE, self.members, len(self.members), others)
            body = build_state(snapshot)
        elif self.joins or self.leaves or self.told[1] != others:
            joins = {key: self.members[key] for key in self.joins}
            body = build_diff(joins, self.leaves, others)
        self.joins, self.leaves, self.new = {}, {}, set()
        self.told = self.numbers
        return body


class MemoryPresence(PresenceStore):
    """Keeps who is on the channels of a hub, for its process alone.

    Args:
        hub: The hub.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._rooms: dict[str, _Room] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def apply(
        self, channel_id: str, changes: Sequence[Change], limit: int | None
    ) -> Applied:
        room = self._rooms.get(channel_id)
        if room is None:
            room = self._rooms[channel_id] = _Room()
        if limit is not None:
            room.limit = limit
        found = [room.apply(each) for each in changes]
        self._schedule(channel_id, room)
        transitions = [each for each in found if each is not None]
        return Applied(transitions, None, -1)

    def _schedule(self, channel_id: str, room: _Room) -> None:
        """Publish what has changed, now or when the last message is old enough."""
        if room.timer is None:
            due = max(room.told_at + INTERVAL, self._hub.loop.time())
            room.timer = self._hub.loop.call_at(due, self._flush, channel_id, room)

    def _flush(self, channel_id: str, room: _Room) -> None:
        """Publish what has changed; forget a channel on which nobody is."""
        room.timer = None
        body = room.build_message()
        if body is not None:
            room.told_at = self._hub.loop.time()
            task = self._hub.loop.create_task(self._publish(channel_id, body))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            # Later changes wait for the interval, also those of an empty channel.
            room.timer = self._hub.loop.call_later(
                INTERVAL, self._flush, channel_id, room
            )
        elif room.numbers == (0, 0):
            self._rooms.pop(channel_id, None)

    async def _publish(self, channel_id: str, body: bytes) -> None:
        try:
            await self._hub.publish(
                Update(PREFIX + channel_id, body, CONTENT_TYPE, expires=LIFETIME)
            )
        except PushError as error:  # For example there are too many channels.
            logger.error(
                "A change of presence cannot be published: %s",
                error,
                extra={"channel_id": channel_id, "reason": find_reason(error)},
            )

    async def read(self, channel_id: str, *, for_page: bool) -> Snapshot:
        # The id is read before the members: what is told after it may be in both.
        newest = NO_CHANGE
        if for_page:
            newest = await find_newest(self._hub.store, PREFIX + channel_id)
        room = self._rooms.get(channel_id) or _Room()
        hides = for_page and (room.is_counted or room.is_counted_now)
        members = None if hides else dict(room.members)
        return Snapshot(newest, members, *room.numbers)

    async def count(self, channel_id: str) -> int:
        room = self._rooms.get(channel_id)
        return 0 if room is None else sum(room.numbers)

    async def has(self, channel_id: str, member: str) -> bool:
        room = self._rooms.get(channel_id)
        return room is not None and member[len(USER) :] in room.members
