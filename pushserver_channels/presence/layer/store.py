"""Who is on the channels of a store over a channel layer, over all processes."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence

from pushserver.presence.names import PREFIX
from pushserver_channels.exceptions import StoreUnavailable
from pushserver_channels.hub import Hub
from pushserver_channels.presence.base import (
    USER,
    Applied,
    Change,
    PresenceOwner,
    PresenceStore,
    Snapshot,
    find_newest,
)
from pushserver_channels.stores.layer import ChannelLayerStore

from .exchange import Exchange
from .room import PATIENCE
from .rooms import Rooms
from .signals import Signals
from .view import Entry, Process, View

#: Beats after which a process that starts does not wait for what does not arrive.
MAX_BEATS = 5

#: Seconds for which a read waits for that.
TIMEOUT = 10.0


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
        self._rooms = Rooms(hub, self)
        # The older of two processes has the smaller name.
        self.name = f"{time.time_ns() // 1000:014x}{secrets.token_hex(4)}"
        self._view = View(Process(self.name), self._change)
        self._exchange = Exchange(self._view, self)
        self._signals = Signals(self._view)
        self._owner: PresenceOwner | None = None
        self._applying = ""
        self._beats = 0
        self._settled: asyncio.Future[None] = hub.loop.create_future()
        if is_alone:
            self._settled.set_result(None)

    def start(self, owner: PresenceOwner) -> None:
        self._owner = owner
        self._store.observe(PREFIX, self._rooms.hear)
        group = self._store.open_group("presence", self._exchange)
        self._rooms.start(group)
        self._exchange.start(group)

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
        self._rooms.tidy(channel_id)
        return Applied(self._signals.take(channel_id), None, -1)

    def _change(self, channel_id: str, member: str, info: str | None) -> None:
        """Note what is true about a member, over all processes, from now on."""
        room = self._rooms.find(channel_id)
        is_own = channel_id == self._applying
        if not is_own and not self._settled.done():
            room.change(member, info, None)
            self._rooms.tidy(channel_id)
            return
        now = self._hub.loop.time()
        transition = room.change(member, info, now)
        self._rooms.schedule(channel_id, room, now + self.rank * PATIENCE)
        if (
            transition is not None
            and not self._exchange.has_ended
            and self._signals.add(channel_id, transition, now)
            and not is_own
            and self._owner is not None
        ):
            self._owner.refresh(channel_id)

    # What the rooms and the exchange use

    @property
    def rank(self) -> int:
        return self._view.rank

    @property
    def may_publish(self) -> bool:
        return self._settled.done() and self._exchange.is_hearing

    @property
    def is_stopping(self) -> bool:
        return self._hub.stopping

    def find_limit(self, channel_id: str) -> int:
        return self._rooms.get(channel_id).limit

    def set_limit(self, channel_id: str, limit: int) -> None:
        self._rooms.find(channel_id).limit = limit

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
            return self._rooms.get(channel_id).describe()
        # The id is read before the members: what is told after it may be in both.
        newest = await find_newest(self._store, PREFIX + channel_id)
        room = self._rooms.get(channel_id)
        return room.describe_for_page(newest, self._hub.loop.time())

    async def _learn(self) -> None:
        """Wait until this process has learned what the others know."""
        if not self._settled.done():
            try:
                await asyncio.wait_for(asyncio.shield(self._settled), TIMEOUT)
            except asyncio.TimeoutError as error:
                raise StoreUnavailable from error

    async def count(self, channel_id: str) -> int:
        await self._learn()
        return sum(self._rooms.get(channel_id).numbers)

    async def has(self, channel_id: str, member: str) -> bool:
        await self._learn()
        return member[len(USER) :] in self._rooms.get(channel_id).members
