"""Who is on the channels of a store in Redis, over all processes."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from itertools import count
from zlib import crc32

from pushserver.presence.names import PREFIX
from pushserver.publishers.update import Update
from pushserver_channels.exceptions import PushError, StoreUnavailable
from pushserver_channels.hub import Hub
from pushserver_channels.stores.redis.channels import ChannelKeys, Shard
from pushserver_channels.stores.redis.errors import ConnectionLost, Moved
from pushserver_channels.stores.redis.presence_replies import (
    build_arguments,
    read_answer,
    read_applied,
    read_beat,
    read_count,
    read_epoch,
    read_snapshot,
)
from pushserver_channels.stores.redis.replies import Reply, add_fields
from pushserver_channels.stores.redis.store import RedisStore

from .base import (
    LIFETIME,
    Applied,
    Change,
    PresenceOwner,
    PresenceStore,
    Snapshot,
    Transition,
)

logger = logging.getLogger("pushserver.presence")

#: Seconds between two beats of a slot in which this process has members.
BEAT = 1.0

#: Of the other slots, each beat is for one in so many. That is less than the LAG of the
#: scripts, who take a longer silence for an absence of all processes.
OTHERS = 2

#: Seconds without an answer to a beat after which Redis counts as away.
AWAY = 3.0

#: Seconds in which all processes tell Redis again what it has lost. A busy process may
#: need them to connect again; it is the HOLD of the scripts.
RECOVERY = 6.0

#: Seconds in which the keys of all channels are renewed.
RENEWAL = 1200.0


class _Slot:
    """What this process knows of a slot of Redis.

    Attributes:
        keys: The keys of the slot's scripts.
        process: The name under which this process has members there. It takes another
            one when Redis may have forgotten some: those of the old one then expire.
        is_new: Whether Redis cannot know that name before the next beat.
        epoch: The epoch of the slot, empty before the first beat.
        lost_at: When Redis was seen to have lost its data, by the event loop's clock.
        answered_at: When it last answered a beat.
        back_at: When it last answered the first beat after it was away.
    """

    def __init__(self, shard: Shard, now: float) -> None:
        prefix = shard.prefix
        keys = (f"{prefix}:messages:", f"{prefix}:channel:", shard.mark)
        self.keys = ChannelKeys("", shard, keys, f"{prefix}:bell::".encode())
        self.take_name()
        self.epoch = ""
        self.lost_at = self.back_at = float("-inf")
        self.answered_at = now

    def take_name(self) -> None:
        """Take a name that no process had before."""
        self.process = secrets.token_hex(6)
        self.is_new = True

    def note_answer(self, now: float) -> None:
        """Note that Redis has answered a beat."""
        if now - self.answered_at > AWAY:
            self.back_at = now
        self.answered_at = now


class RedisPresence(PresenceStore):
    """Keeps who is on the channels of a hub, whose store is in Redis.

    Each process says every second that it is alive, once for all of its members. When
    one has not for a while, another one removes its members. All that changes is told
    by the script that has found it, so it is told once.

    Args:
        hub: The hub.
    """

    def __init__(self, hub: Hub) -> None:
        assert isinstance(hub.store, RedisStore), "By the settings of the store."
        self._hub = hub
        self._commands = hub.store.commands
        shards = self._commands.network.shards
        self._slots = [_Slot(each, hub.loop.time()) for each in shards]
        self._owner: PresenceOwner | None = None
        self._due: set[str] = set()
        self._token = secrets.token_hex(8)
        self._numbers = count()
        self._beats = 0
        self._renewing: list[str] = []
        self._renewals = 0.0

    def start(self, owner: PresenceOwner) -> None:
        self._owner = owner
        self._commands.network.start_task(self._beat_for_ever())

    def was_away(self, channel_id: str, seconds: float) -> bool:
        slot, now = self._slots[self._number(channel_id)], self._hub.loop.time()
        return now - slot.answered_at > AWAY or now - slot.back_at < seconds

    # Changes

    async def apply(
        self, channel_id: str, changes: Sequence[Change], limit: int | None
    ) -> Applied:
        channel = self._commands.find(PREFIX + channel_id)
        slot = self._slots[self._number(channel_id)]
        sweeps = channel_id in self._due
        self._due.discard(channel_id)
        update = Update(PREFIX + channel_id, b"", expires=LIFETIME)
        token = add_fields(f"p{self._token}{next(self._numbers):x}", update)
        words = f"{slot.process} {'-' if limit is None else limit} {token} {sweeps:d}"
        arguments = build_arguments(
            (each.member, each.grace, each.info) for each in changes
        )
        reply = await self._run("presence", channel, words, *arguments)
        transitions, flush_in, entries, has_more = read_applied(reply)
        has_lost = self._has_lost(slot, read_epoch(reply))
        if has_more and self._owner is not None:
            self._due.add(channel_id)
            self._owner.refresh(channel_id)
        passed = [Transition(*each) for each in transitions]
        return Applied(passed, flush_in, entries, has_lost)

    async def _run(
        self, script: str, channel: ChannelKeys, words: str, *arguments: bytes
    ) -> Reply:
        """Run a script once: whoever asked for it repeats it."""
        connection = await self._commands.network.connect(channel.shard)
        try:
            return await self._commands.run(
                connection, script, channel, words, *arguments
            )
        except (ConnectionLost, Moved) as error:
            raise StoreUnavailable from error

    # Reads

    async def read(self, channel_id: str, *, for_page: bool) -> Snapshot:
        channel = self._commands.find(PREFIX + channel_id)
        words = f"{for_page:d}"
        reply = await self._run("presence_state", channel, words)
        if for_page:
            slot = self._slots[self._number(channel_id)]
            # Members whose process has not told them again would seem to leave.
            while self._has_lost(slot, read_epoch(reply)) and not self._hub.stopping:
                await asyncio.sleep(BEAT / 2)
                reply = await self._run("presence_state", channel, words)
        return Snapshot(*read_snapshot(reply))

    async def count(self, channel_id: str) -> int:
        channel = self._commands.find(PREFIX + channel_id)
        return read_count(await self._run("presence_state", channel, "n"))

    async def has(self, channel_id: str, member: str) -> bool:
        channel = self._commands.find(PREFIX + channel_id)
        reply = await self._run("presence_state", channel, "0", member.encode())
        return read_answer(reply)

    def _has_lost(self, slot: _Slot, epoch: str) -> bool:
        """Return whether Redis has lost its data in a slot lately.

        Args:
            slot: The slot.
            epoch: Its epoch in an answer, which this process may not have noticed yet.
        """
        if not slot.epoch:
            return False
        return epoch != slot.epoch or self._hub.loop.time() - slot.lost_at < RECOVERY

    # Beats

    async def _beat_for_ever(self) -> None:
        """Say every second that this process is alive, as long as it serves."""
        while not self._hub.stopping:
            try:
                await self.beat()
            except Exception:
                extra = {"reason": "failed"}
                logger.exception("A beat of presence has failed", extra=extra)
            await asyncio.sleep(BEAT)

    async def beat(self) -> None:
        """Say in all slots of this process that it is alive; in the others seldom.

        In a slot whose epoch is not known yet, a loss of data would not be noticed.
        """
        assert self._owner is not None, "By start()."
        self._beats += 1
        used = {self._number(each) for each in self._owner.channel_ids}
        await asyncio.gather(
            *(
                self._beat_slot(number, is_used=number in used)
                for number in range(len(self._slots))
                if number in used
                or (number + self._beats) % OTHERS == 0
                or not self._slots[number].epoch
            )
        )
        self._renew_some()

    def _number(self, channel_id: str) -> int:
        """Return the number of the slot of a channel."""
        count = len(self._slots)
        return crc32(f"{PREFIX}{channel_id}".encode()) % count if count > 1 else 0

    async def _beat_slot(self, number: int, *, is_used: bool) -> None:
        """Say in a slot that this process is alive, and do what is due there.

        Args:
            number: The number of the slot.
            is_used: Whether this process has members there.
        """
        assert self._owner is not None, "By start()."
        slot = self._slots[number]
        try:
            reply = await self._run("presence_beat", slot.keys, slot.process)
        except PushError:
            return
        slot.note_answer(self._hub.loop.time())
        epoch, is_known, due = read_beat(reply)
        if slot.epoch not in ("", epoch):
            slot.lost_at = self._hub.loop.time()
        is_known = is_known or slot.is_new
        slot.is_new = False
        if slot.epoch and is_used and (epoch != slot.epoch or not is_known):
            # Redis has lost its data, or has taken this process for dead.
            slot.take_name()
            found = [
                each for each in self._owner.channel_ids if self._number(each) == number
            ]
            self._owner.tell_again(found, is_known=epoch != slot.epoch)
        slot.epoch = epoch
        for each in due:
            channel_id = each.removeprefix(PREFIX)
            self._due.add(channel_id)
            self._owner.refresh(channel_id)

    def _renew_some(self) -> None:
        """Have the keys of some channels renewed, so that none expires."""
        assert self._owner is not None, "By start()."
        self._renewals += len(self._owner.channel_ids) * BEAT / RENEWAL
        while self._renewals >= 1:
            self._renewals -= 1
            if not self._renewing:
                self._renewing = list(self._owner.channel_ids)
            if self._renewing:
                self._owner.refresh(self._renewing.pop())
