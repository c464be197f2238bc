"""Tell the store who has come and gone in this process."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice

from pushserver.signals import member_joined, member_left
from pushserver_channels.exceptions import PushError, find_reason
from pushserver_channels.paced_log import PacedLog

from .base import USER, Applied, Change, PresenceStore
from .members import Member, Room
from .telling import Teller, count_missed

logger = logging.getLogger("pushserver.presence")

#: The most members of a channel that the store is told of at once.
MAX_CHANGES = 200

#: The most channels of which the store is told at the same time.
CONCURRENCY = 64

#: Seconds after which a store that could not be told is told again.
RETRY_DELAY = 1.0


class Changes:
    """The members of which the store has to be told.

    Of each channel one task at a time tells it. That tells what is true when it is
    sent, so a failure is repaired by telling again.

    Args:
        rooms: The members of this process, by channel.
        store: Keeps the members of all processes.
        teller: Sends the signals.
        forget: Forgets a member, of which the store need not be told.
    """

    def __init__(
        self,
        rooms: Mapping[str, Room],
        store: PresenceStore,
        teller: Teller,
        forget: Callable[[Member], None],
    ) -> None:
        self._rooms = rooms
        self._store = store
        self._teller = teller
        self._forget = forget
        self._loop = asyncio.get_running_loop()
        # The keys of the members of which the store has to be told, by channel.
        self._changed: dict[str, dict[str, None]] = {}
        self._telling: dict[str, asyncio.Task[None]] = {}
        self._flushes: dict[str, asyncio.TimerHandle] = {}
        self._free = asyncio.Semaphore(CONCURRENCY)
        # The timer after a failure; then one channel is told before the others.
        self._retry: asyncio.TimerHandle | None = None
        self._is_probing = False
        self._lost = PacedLog(
            logger,
            "The store did not answer what it was told of %d members, so signals of"
            " presence may be missing; the channel itself tells of all.",
        )
        store.start(self)

    @property
    def are_told(self) -> bool:
        """Whether the store knows all members of this process."""
        return not (self._changed or self._telling)

    @property
    def channel_ids(self) -> Collection[str]:
        return self._rooms.keys()

    def refresh(self, channel_id: str) -> None:
        self._changed.setdefault(channel_id, {})
        self._start(channel_id)

    def _flush(self, channel_id: str) -> None:
        del self._flushes[channel_id]
        self.refresh(channel_id)

    def tell_again(self, channel_ids: Iterable[str], *, is_known: bool) -> None:
        for channel_id in channel_ids:
            room = self._rooms.get(channel_id)
            for member in list(room.members.values()) if room is not None else ():
                if not is_known and member.lingering is not None:
                    # It has left meanwhile, as others have told or will.
                    self._forget(member)
                    continue
                member.is_known = is_known and member.told is not None
                member.told = None
                self.add(member)

    def add(self, member: Member) -> None:
        """Have the store told of a member."""
        self._changed.setdefault(member.channel_id, {})[member.key] = None
        self._start(member.channel_id)

    def _start(self, channel_id: str) -> None:
        """Start the task that tells the store of a channel, unless it runs."""
        if (
            channel_id not in self._telling
            and self._retry is None
            and not self._is_probing
        ):
            self._telling[channel_id] = self._loop.create_task(self._tell(channel_id))

    async def _tell(self, channel_id: str) -> None:
        """Tell the store of a channel, as long as there are changes."""
        try:
            while channel_id in self._changed and self._retry is None:
                async with self._free:
                    if self._retry is None:
                        await self._tell_some(channel_id)
        except Exception:
            logger.exception(
                "The store cannot be told who is on %s",
                channel_id,
                extra={"channel_id": channel_id, "reason": "failed"},
            )
        finally:
            del self._telling[channel_id]

    async def _tell_some(self, channel_id: str) -> None:
        """Tell the store of the next changed members of a channel."""
        changed = self._changed[channel_id]
        keys = list(islice(changed, MAX_CHANGES))
        for key in keys:
            del changed[key]
        if not changed:
            del self._changed[channel_id]
        room = self._rooms.get(channel_id)
        members = {} if room is None else room.members
        changes, told = [], []
        for key in keys:
            member = members.get(key)
            if member is None:
                changes.append(Change(key, None, None))
                continue
            is_same = member.told is not None and member.told[1] == member.info
            info = None if is_same else member.info
            changes.append(Change(key, member.grace, info))
            told.append((member, (member.grace, member.info)))
        try:
            applied = await self._store.apply(
                channel_id, changes, None if room is None else room.limit
            )
        except PushError as error:
            self._changed.setdefault(channel_id, {}).update(dict.fromkeys(keys))
            if changes:
                extra = {"channel_id": channel_id, "reason": find_reason(error)}
                self._lost.add(count=len(changes), extra=extra)
                if member_joined.has_listeners() or member_left.has_listeners():
                    count_missed(len(changes))
            self._retry_later()
            return
        if self._is_probing:
            self._end_probe()
        for member, as_told in told:
            member.told = as_told
        self._take(channel_id, applied)
        for member, _ in told:
            member.is_known = False

    def _take(self, channel_id: str, applied: Applied) -> None:
        """Send the signals, and have told later what waits."""
        room = self._rooms.get(channel_id)
        for each in applied.transitions:
            member = None if room is None else room.members.get(each.member)
            if each.member.startswith(USER) and not (
                each.has_joined and member is not None and member.is_known
            ):
                user = each.member[len(USER) :]
                self._teller.tell(channel_id, user, each.info, each.has_joined)
        if applied.flush_in is not None and channel_id not in self._flushes:
            self._flushes[channel_id] = self._loop.call_later(
                applied.flush_in, self._flush, channel_id
            )
        if room is not None and applied.entries >= 0:
            expected = sum(each.told is not None for each in room.members.values())
            if applied.entries < expected and channel_id not in self._changed:
                self.tell_again([channel_id], is_known=applied.has_lost)

    def _retry_later(self) -> None:
        """Tell the store again after a while, because it could not be told."""
        self._is_probing = False
        if self._retry is None:
            delay = RETRY_DELAY * random.uniform(0.5, 1.0)
            self._retry = self._loop.call_later(delay, self._probe)

    def _probe(self) -> None:
        """Tell the store of one channel, and of the others if that succeeds."""
        self._retry = None
        if self._changed:
            self._start(next(iter(self._changed)))
            self._is_probing = True

    def _end_probe(self) -> None:
        """Tell the store of all channels, because it was told of one."""
        self._is_probing = False
        for channel_id in list(self._changed):
            self._start(channel_id)
